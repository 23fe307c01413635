"""DDIM sampling by the decoder against diffusers' UNet and scheduler: python benchmarks/sample.py [--steps=32 …]

Needs `pip install -r benchmarks/requirements-peers.txt`. Unchanged on a GPU.
"""

import duel

if __name__ == "__main__":
    duel.main("sample", __doc__)

"""Compares DDIM sampling with diffusers' UNet and scheduler: python benchmarks/sample.py [--steps=32 …]

Needs `pip install -r benchmarks/requirements-peers.txt`. Runs unchanged on a GPU.
"""

import duel

if __name__ == "__main__":
    duel.main("sample", __doc__)

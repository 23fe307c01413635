"""Training step of the decoder against diffusers' UNet: python benchmarks/train_step.py [--precision=bfloat16 …]

Needs `pip install -r benchmarks/requirements-peers.txt`. Unchanged on a GPU.
"""

import duel

if __name__ == "__main__":
    duel.main("train", __doc__)

"""Compares the decoder's training step with diffusers' UNet: python benchmarks/train_step.py [--precision=bfloat16 …]

Needs `pip install -r benchmarks/requirements-peers.txt`. Runs unchanged on a GPU.
"""

import duel

if __name__ == "__main__":
    duel.main("train", __doc__)

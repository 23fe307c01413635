"""Compares the decoder's training step with diffusers' UNet: python benchmarks/train_step.py

Needs `pip install -r benchmarks/requirements-peers.txt`. On a GPU:
python benchmarks/train_step.py --config=configs/gait.py --image_size=256x256 --batch=32 --precisions=bfloat16,float16
"""

import duel

if __name__ == "__main__":
    duel.main("train", __doc__)

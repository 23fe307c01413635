"""Compares sampling by our decoder and by its student with diffusers' UNet and DDIM: python benchmarks/sample.py

Needs `pip install -r benchmarks/requirements-peers.txt`. On a GPU:
python benchmarks/sample.py --config=configs/gait.py --image_size=256x256 --batch=64 --precisions=bfloat16,float16
"""

import duel

if __name__ == "__main__":
    duel.main("sample", __doc__)

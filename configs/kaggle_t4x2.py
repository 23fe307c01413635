"""A folder of recordings at 256x256 on Kaggle's two T4 GPUs (16 GB each): float16, 8 windows on each, 50 epochs.

python train.py --config=configs/kaggle_t4x2.py --workdir=/kaggle/working/gait --config.data.path=/kaggle/input/FOLDER

A T4 computes in float16 on its tensor cores and knows no bfloat16. Not timed yet: no T4 was at hand. The table that is
printed before each stage says whether it fits, and after ten steps how long it takes.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.precision = "float16"
    config.decoder.update(batch_size=16, epochs=50)
    return config

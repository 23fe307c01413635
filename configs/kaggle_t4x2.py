"""A folder of recordings on Kaggle's two T4 GPUs (16 GB each): float16, 8 windows on each, 50 epochs.

python train.py --config=configs/kaggle_t4x2.py --workdir=/kaggle/working/gait --config.data.path=/kaggle/input/FOLDER

The tensor cores of a T4 compute in float16, not in bfloat16. Not trained yet, for want of a T4: by the compiler's
analysis (2026-11-26) 2.0 GiB on each GPU and 1.1 TFLOP a step, 2,000 steps for 650 windows. The table printed before
each stage says whether it fits; the time it takes follows after ten steps.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.precision = "float16"
    config.decoder.update(batch_size=16, epochs=50)
    return config

"""A folder of recordings on Colab's one T4 GPU (16 GB): float16, batches of 16 in two parts, 50 epochs.

python train.py --config=configs/colab_t4.py --workdir=/content/drive/MyDrive/gait --config.data.path=FOLDER

A working directory on the drive survives the machine; the same command resumes the run. Not trained yet, for want of a
T4: by the compiler's analysis (2026-11-26) 2.4 GiB and 1.1 TFLOP a step, 2,000 steps for 650 windows.
"""

from ml_collections import ConfigDict

from configs import kaggle_t4x2


def get_config() -> ConfigDict:
    config = kaggle_t4x2.get_config()
    config.checkpoint_every = 250  # a Colab machine may be withdrawn at any time
    config.decoder.accumulate = 2
    return config

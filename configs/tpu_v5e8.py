"""A folder of recordings on a TPU v5e with eight chips (Kaggle, Cloud): bfloat16, 8 windows on each chip.

python train.py --config=configs/tpu_v5e8.py --workdir=runs/gait --config.data.path=FOLDER

On a pod of several hosts start the same command on each; they find each other. WORKDIR must be accessible to all of
them. Not trained yet, for want of a TPU: by the compiler's analysis (2026-11-26) 2.1 GiB on each chip and 4.4 TFLOP a
step, 6,000 steps for 650 windows.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.precision = "bfloat16"
    config.encoder.batch_size = 128
    config.prior.batch_size = 256
    config.decoder.update(batch_size=64, epochs=600)
    config.decoder.optimizer.learning_rate = 4e-4
    config.sample.batch_size = 64
    return config

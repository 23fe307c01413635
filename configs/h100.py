"""A folder of recordings on one H100 GPU (80 GB): bfloat16, fused attention, batches of 64.

python train.py --config=configs/h100.py --workdir=runs/gait --config.data.path=FOLDER

Not trained yet, for want of an H100: by the compiler's analysis (2026-11-26, without fused attention) 6.9 GiB and 4.4
TFLOP a step, 6,000 steps for 650 windows.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.precision = "bfloat16"
    config.attention = "cudnn"
    config.decoder.update(batch_size=64, epochs=600)
    config.decoder.optimizer.learning_rate = 4e-4
    config.sample.batch_size = 128
    return config

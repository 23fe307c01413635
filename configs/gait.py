"""A folder of recordings at full size, 256x256 and 1000 timesteps, on one GPU with 16 GB.

python train.py --config=configs/gait.py --workdir=runs/gait --config.data.path=FOLDER

Compiled, not trained yet: 4.3 GiB by the compiler's analysis for a step of 16 windows in float32, 1.8 TFLOP a step. On
a GPU without bfloat16 (T4, P100) give --config.precision=float16, on newer ones and TPUs bfloat16.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    return default.get_config()

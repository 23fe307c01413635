"""A folder of recordings at full size, 256x256 and 1000 timesteps, on one GPU with 16 GB.

python train.py --config=configs/gait.py --workdir=runs/gait --config.data.path=FOLDER
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    return default.get_config()

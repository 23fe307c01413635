"""A folder of recordings at full size of the networks, on one GPU with 16 GB.

python train.py --config=configs/gait.py --workdir=runs/gait --config.data.path=FOLDER

Compiled, not trained yet (2026-11-26): for 650 windows 12,000 steps of 16 in the decoder, 1.1 TFLOP and by the
compiler's analysis 2.9 GiB a step in float32. Each window keeps the 256 rows and up to 80 frames of its image;
--config.data.image_size="(256, 256)" works on pixels, 3.2 times as many. On a GPU without bfloat16 (T4, P100) give
--config.precision=float16, on newer ones and TPUs bfloat16.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    return default.get_config()

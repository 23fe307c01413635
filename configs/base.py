"""The base model: a thousand simulated people on two CPU cores, at the frames and rows of recordings' images.

python train.py --config=configs/base.py --workdir=runs/base
"""

from ml_collections import ConfigDict

from configs import gait_cpu


def get_config() -> ConfigDict:
    config = gait_cpu.get_config()
    config.checkpoint_every = 1000
    config.validation_passes = 1
    config.data.update(kind="walkers", fractions=(0.85, 0.1, 0.05), split_by="block")
    config.data.walkers.update(num_users=1000, recordings_per_user=2, windows_per_recording=20, nuisances=1.0)
    config.people.update(references=True, user_row=False)
    config.encoder.update(epochs=7, batch_size=64)
    config.prior.update(width=192, epochs=17)
    config.decoder.epochs = 4
    return config

"""A configuration for augmentation.py: 31 simulated people, as many as the data sets of real ones that are at hand
have, whom the base model has not seen, with as many walks as it takes to tell a point from chance. Training from the
base is short: the people are of the kind that it knows.

python benchmarks/augmentation.py --config=benchmarks/thirty_one_walkers.py --output=DIR --budgets=10,20 --draws=2
    --seeds=3 --recipes=generated
"""

from ml_collections import ConfigDict

from configs import base, gait_cpu


def get_config() -> ConfigDict:
    config = gait_cpu.get_config()
    config.data = base.get_config().data
    config.data.update(split_by="recording", fractions=(0.5, 0.1, 0.4))
    config.data.walkers.update(num_users=31, recordings_per_user=30, windows_per_recording=5, seed=31)
    config.keep_early = 0.0
    config.encoder.update(epochs=0)
    config.prior.update(epochs=20)
    config.decoder.update(epochs=6)
    config.sample = base.get_config().sample  # without guidance
    config.sample.update(calibration_windows=192)
    return config

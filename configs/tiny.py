"""Half a minute on two CPU cores: checks that everything runs, not the quality.

python train.py --config=configs/tiny.py --workdir=runs/tiny
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.log_every = 5
    config.checkpoint_every = 20
    config.data.image_size = (32, 32)
    config.data.walkers.update(num_users=3, recordings_per_user=6, windows_per_recording=5)
    config.encoder.update(embedding_dim=16, channels=(16, 32), epochs=4, batch_size=16)
    config.prior.update(width=32, depth=2, heads=2, epochs=10, batch_size=16, sample_timesteps=8)
    config.decoder.update(channels=(16, 32), cond_width=32, epochs=10, batch_size=8, sample_timesteps=8)
    config.sample.update(num_samples_per_user=4, calibration_windows=6)
    return config

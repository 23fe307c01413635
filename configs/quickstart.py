"""Six synthetic walkers, from simulation to samples, on two CPU cores.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart

2 CPU cores, eight minutes (2026-11-26). The linear judge identifies the right one of six users for 75 % of unseen
windows and for 77 % of generated ones.
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.checkpoint_every = 400
    config.data.update(kind="walkers", image_size=(64, 64), native_frames=False)
    config.data.walkers.nuisances = 0.0  # steady walks, which so few windows and minutes suffice for
    config.encoder.update(patch=(4, 4), embedding_dim=64, channels=(32, 64, 96), blocks=1, epochs=25, batch_size=32)
    config.prior.update(width=128, depth=3, heads=4, epochs=120, batch_size=64)
    config.prior.optimizer.learning_rate = 1e-3
    config.decoder.update(
        patch=(4, 4),
        fine_channels=0,
        occupancy=False,
        log_snr_shift=0.0,
        weighting="min_snr",
        channels=(96, 128),
        blocks=1,
        attention=(False, True),
        head_width=32,
        cond_width=128,
        epochs=35,
        sample_timesteps=32,
    )
    config.decoder.optimizer.learning_rate = 1e-3
    config.sample.update(num_samples_per_user=8, calibration_windows=48)
    config.sample.update(cond_scale=1.0, prior_cond_scale=1.0)  # no guidance, half the cost
    return config

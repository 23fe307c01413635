"""The base model: a thousand simulated people on two CPU cores, at the rows and frames that recordings' images hold.

python train.py --config=configs/base.py --workdir=runs/base
python export.py --workdir=runs/base --output=NEW_FOLDER --nousers --about="configs/base.py"

The package ships what the two commands made, in 92 minutes on 2 CPU cores beside other work (2026-11-26; simulation 5,
encoder 16, prior 13, decoder 58): docs/base_model.md.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    config = quickstart.get_config()
    config.checkpoint_every = 1000
    config.validation_passes = 1
    config.data.update(image_size=(256, 80), native_frames=True, fractions=(0.85, 0.1, 0.05), split_by="block")
    config.data.walkers.update(num_users=1000, recordings_per_user=2, windows_per_recording=20, nuisances=1.0)
    config.people.update(references=True, user_row=False)
    config.encoder.update(patch=(16, 4), embedding_dim=128, epochs=7, batch_size=64)
    config.prior.update(width=192, depth=4, epochs=17)
    config.decoder.update(
        patch=(8, 4),
        channels=(64, 128),
        fine_channels=32,
        occupancy=True,
        cond_width=256,
        log_snr_shift=-1.0,
        weighting="plain",
        epochs=3,
    )
    config.summary.max_users = 8
    config.sample.update(num_samples_per_user=16, cond_scale=1.0, prior_cond_scale=1.0)  # nearest to real windows
    config.sample.update(sampler="dpmpp_2m", noise_scale=1.003, calibration_windows=0)
    return config

"""The complete configuration: every key there is, with its default. Other files change only what differs.

Not a run by itself: `data.path` must name a folder. Sizes are those of `gait.py` (256x256, one 16 GB GPU).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0,  # root of everything random
            "precision": "float32",  # what the networks compute in: float32, bfloat16, float16 (with loss scaling)
            "remat": "none",  # what the backward pass recomputes, to save memory: none, blocks, full (levels too)
            "attention": "einsum",  # einsum, or cudnn on a GPU of capability 8.0 with float16 or bfloat16
            "stage": "all",  # all, or one of encoder, prior, decoder (those before it must be finished)
            "log_every": 20,  # steps between lines of metrics.jsonl
            "dry_run": False,  # stop before training: size, cost and memory of each stage
            "checkpoint_every": 500,  # steps between checkpoints, each with its validation loss; the last step has one
            "keep_checkpoints": 2,  # how many of the latest to keep, beside the best
            "keep_every": 0,  # also keep checkpoints at multiples of so many steps; 0: none
            "validation_passes": 4,  # over the validation windows at each checkpoint, each with other noise; 0: none
            "patience": 0,  # checkpoints without a better validation loss after which a stage ends early; 0: never
            "sheet_every": 0,  # checkpoints between sheets of real windows and decodings of their embeddings; 0: none
            "tensorboard": True,  # event files in WORKDIR/tensorboard
            "compilation_cache": True,  # keep compiled programs in WORKDIR/cache, so that resuming starts at once
            "max_skipped": 20,  # updates in a row with non-finite gradients after which training stops
            "ema_decays": (0.999,),  # averages of the parameters kept beside them; warm-up (1+n)/(10+n)
            "data": data(),
            "encoder": encoder(),
            "prior": prior(),
            "decoder": decoder(),
            "sample": sample(),
            "enrollment": enrollment(),
            "summary": summary(),
        }
    ).lock()


def data() -> dict:
    return {
        "kind": "folder",  # folder: recordings at data.path; walkers: synthetic users, made on the spot
        "path": "",  # folder with one folder per user
        "image_size": (256, 256),  # Doppler rows, time frames the model works at
        "channels": "scalar",  # scalar: coloured images are inverted to one channel; rgb: kept as they are
        "colormap": "auto",  # auto, or the name of the map the images are drawn in (jet, parula, viridis …)
        "native_frames": False,  # read images on the frame grid they were stretched from, so that no frames are mixed
        "stft": {  # how files of complex slow-time samples become windows; others use span_db at most
            "window_seconds": 0.05,  # Hann; gives a Doppler step of wavelength / (2 window_seconds), 0.04 m/s at 77 GHz
            "hop_seconds": 0.0375,  # between frames
            "frames": 56,  # a window: 2.1 s, about four steps
            "hop_frames": 14,  # between windows, which share 1 - hop_frames / frames
            "span_db": 45.0,  # kept below the strongest returns
            "zero_row": 0.8125,  # row of zero Doppler, share of the height; the velocity axis wraps there
        },
        "fractions": (0.7, 0.1, 0.2),  # train, validation, test, of each user's windows
        "split_by": "auto",  # recording; block (of the window index); auto: recording where enough; random_that_leaks
        "folds": 1,  # above 1: cross-validation, the test part is one of so many
        "fold": 0,  # which of them
        "windows_per_user": 0,  # for training, for small-data experiments; 0: all
        "gap": 3,  # window indices dropped on each side of a cut between blocks, since windows overlap
        "balanced": True,  # draw users equally often, however many windows each has
        "walkers": {
            "num_users": 6,  # walker_01 …
            "recordings_per_user": 14,  # walks
            "windows_per_recording": 8,  # overlapping by three quarters
            "difficulty": 1.0,  # 1: as hard to tell apart as real users; smaller is easier
            "seed": 0,  # of the people, not of training
        },
    }


def encoder() -> dict:
    return {
        "embedding_dim": 512,  # of what the prior draws
        "channels": (64, 128, 256, 512),  # width of each level, each at half the size of the one before
        "blocks": 2,  # residual blocks a level
        "patch": 4,  # the first level works on patch x patch pixels at a time
        "epochs": 60,  # passes over the training windows
        "batch_size": 64,  # over all devices
        "temperature": 0.1,  # of the supervised-contrastive loss
        "contrastive_weight": 1.0,  # of that loss
        "classification_weight": 1.0,  # of the cross-entropy over users
        "augment": {  # strengths; see mdiff_jax/training/augmentation.py
            "shift": 0.5,  # circular, in time, share of the window
            "gain": 0.15,  # of the level above the floor
            "noise": 0.1,  # deviation
            "mask": 0.15,  # widest span of time or of rows, share
        },
        "optimizer": optimizer(learning_rate=1e-3, weight_decay=0.05),
    }


def prior() -> dict:
    return {
        "timesteps": 1000,  # T of training
        "sample_timesteps": 64,  # steps of sampling
        "schedule": "cosine",  # cosine, linear
        "width": 512,  # of a token
        "depth": 6,  # transformer blocks
        "heads": 8,  # of attention
        "self_condition": True,  # feed the last estimate back (Chen et al. 2022)
        "cond_drop_prob": 0.1,  # share of training examples without a user, for guidance
        "epochs": 300,  # passes over the training windows
        "curriculum": (),  # (timesteps, epochs) one after the other, ((250, 10), (1000, 100)), in place of epochs
        "batch_size": 128,  # over all devices
        "accumulate": 1,  # parts that a device's share of a batch is worked on in, one by one
        "optimizer": optimizer(learning_rate=5e-4, weight_decay=0.01),
    }


def decoder() -> dict:
    return {
        "timesteps": 1000,  # T of training
        "sample_timesteps": 64,  # steps of sampling
        "schedule": "cosine",  # cosine, linear
        "log_snr_shift": 0.0,  # added to the schedule's log-SNR; -2.77 for 256x256 by Hoogeboom et al. 2023
        "zero_terminal_snr": False,  # end the schedule in pure noise (Lin et al. 2023); not with prediction eps
        "prediction": "v",  # v, eps, x0
        "weighting": "min_snr",  # plain, min_snr (Hang et al. 2023), sigmoid (Hoogeboom et al. 2024)
        "channels": (128, 256, 384, 512),  # width of each level, each at half the size of the one before
        "blocks": 2,  # residual blocks a level
        "attention": (False, False, True, True),  # at which levels
        "head_width": 64,  # channels of an attention head
        "patch": 4,  # 4: 256x256 costs what 64x64 costs
        "cond_width": 512,  # width of the joined condition
        "user_conditioning": True,  # tell the decoder the user beside the embedding
        "conditioning_noise": 0.5,  # largest deviation of noise on embeddings (of unit scale) in training
        "floor_margin": 0.25,  # how far below -1 the decoder sees the empty floor; mdiff_jax/diffusion/noise_floor.py
        "cond_drop_prob": 0.1,  # share of training examples without a condition, for guidance
        "epochs": 300,  # passes over the training windows
        "curriculum": (),  # (timesteps, epochs) one after the other, ((250, 10), (1000, 100)), in place of epochs
        "batch_size": 16,  # over all devices
        "accumulate": 1,  # parts that a device's share of a batch is worked on in, one by one
        "optimizer": optimizer(learning_rate=2e-4, weight_decay=0.01),
    }


def optimizer(learning_rate: float, weight_decay: float) -> dict:
    """AdamW."""
    return {
        "learning_rate": learning_rate,  # at its peak
        "schedule": "cosine",  # cosine: down to 0 at the last step; constant
        "warmup_steps": 100,  # from 0 to the peak
        "weight_decay": weight_decay,  # of kernels
        "clip_norm": 1.0,  # gradients are scaled down to this norm
        "b2": 0.99,  # small data sets: short memory
    }


def sample() -> dict:
    return {
        "num_samples_per_user": 16,  # to draw
        "cond_scale": 2.0,  # guidance of the decoder; 1: none
        "prior_cond_scale": 2.0,  # guidance of the prior
        "guidance_interval": (),  # (low, high) log-SNR within which the decoder is guided; (): always
        "guidance_rescale": 0.0,  # 0 to 1: bring the guided deviation back (Lin et al. 2023); decoder
        "threshold": "clip",  # of the decoder's estimates: clip, or dynamic (Saharia et al. 2022)
        "sampler": "ddim",  # ddim, ddpm, dpmpp_2m, heun
        "spacing": "trailing",  # of the sampling steps: trailing, leading, linspace, logsnr
        "eta": 0.0,  # noise of DDIM: 0 none, 1 as much as DDPM
        "batch_size": 32,  # samples drawn at once, on all devices
        "ema_decay": 0.999,  # which average of the parameters; one of ema_decays
        "checkpoint": "best",  # of prior and decoder: best by validation loss, or latest
    }


def enrollment() -> dict:
    return {
        "min_windows": 5,  # of a new user, that enroll.py asks for at least
        "max_windows": 20,  # and at most
        "steps": 400,  # of Adam, for the prior and for the decoder
        "learning_rate": 0.1,  # at its peak; cosine down to 0
        "deviation_penalty": 0.01,  # on how far the prior's row leaves the mixtures of the trained users' rows
        "prior_batch_size": 64,  # noised embeddings a step
        "decoder_batch_size": 8,  # noised windows a step
        "seed": 0,  # of the noise
    }


def summary() -> dict:
    return {
        "grid_columns": 4,  # real and generated windows each, in grid.png
    }

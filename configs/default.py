"""The complete configuration: every key with its default. The other configurations change only what differs.

`data.path` must be given. Sizes are those of `gait.py` (one 16 GB GPU). The values that a key can have are in
`mdiff_jax/validation.py`, and beside these comments in `docs/configuration.md`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        {
            "seed": 0,  # root of all random numbers
            "precision": "float32",  # of the networks: float32, bfloat16, float16 (with loss scaling)
            "remat": "none",  # what the backward pass recomputes to save memory: none, blocks, full (levels too)
            "attention": "einsum",  # einsum, or cudnn on a GPU of capability 8.0 with float16 or bfloat16
            "init_from": "none",  # what stages start from: base (shipped), none, or a working directory or export
            "stage": "all",  # all, or one of encoder, prior, decoder, distill (those before it must be finished)
            "log_every": 20,  # steps between lines of metrics.jsonl
            "dry_run": False,  # print size, cost and memory of each stage, then stop
            "checkpoint_every": 500,  # steps between checkpoints, each with a validation loss; the last step has one
            "keep_checkpoints": 2,  # number of latest checkpoints to keep, besides the best
            "keep_early": 0.0,  # also keep a checkpoint after this share of a stage, for sample.guide early; 0: none
            "validation_passes": 4,  # over the validation windows at each checkpoint, each with other noise; 0: none
            "patience": 0,  # checkpoints without a lower validation loss after which a stage ends early; 0: never
            "sheet_every": 0,  # checkpoints between sheets of real windows and their decoded embeddings; 0: none
            "tensorboard": True,  # event files in WORKDIR/tensorboard
            "compilation_cache": True,  # keep compiled programs in WORKDIR/cache, so that resuming starts at once
            "grace_seconds": 8.0,  # from SIGTERM to the end of the process: a save that takes longer is lost
            "max_skipped": 20,  # consecutive updates with non-finite gradients after which training stops
            "ema_decays": (0.999,),  # decays of the parameter averages to keep; at update n at most (1+n)/(10+n)
            "data": data(),
            "encoder": encoder(),
            "prior": prior(),
            "decoder": decoder(),
            "distill": distill(),
            "people": people(),
            "sample": sample(),
            "enrollment": enrollment(),
            "summary": summary(),
        }
    ).lock()


def data() -> dict:
    return {
        "kind": "folder",  # folder: recordings at data.path; walkers: synthetic users, simulated before training
        "path": "",  # folder with one folder per user; may move or go once the windows are prepared
        "image_size": (256, 80),  # Doppler rows, most frames of a window in the model; (256, 256): pixels, not frames
        "channels": "scalar",  # scalar: colored images are converted to one channel; rgb: kept as they are
        "colormap": "auto",  # of the images: auto (detect), or a name (jet, parula, viridis …)
        "native_frames": True,  # keep each window's own frames where images show them; image_size has room for the most
        "stft": {  # complex slow-time samples to windows; spectrograms of whole recordings by (hop_)frames, span_db
            "window_seconds": 0.05,  # Hann; Doppler step wavelength / (2 window_seconds), 0.04 m/s at 77 GHz
            "hop_seconds": 0.0375,  # between frames
            "frames": 56,  # of a window: 2.1 s, about four steps
            "hop_frames": 14,  # between windows, which share 1 - hop_frames / frames
            "span_db": 45.0,  # dynamic range below the strongest returns
            "zero_row": 0.8125,  # row of zero Doppler as a share of the height; the velocity axis wraps there
            "array_axes": "auto",  # of finished spectrograms: auto, or told: then those longer than `frames` are cut
        },
        "fractions": (0.7, 0.1, 0.2),  # of each user's windows for training, validation, test
        "split_by": "auto",  # recording; block (of window indices); auto: recording if enough; random_that_leaks
        "folds": 1,  # number of folds of a cross-validation; 1: none
        "fold": 0,  # which fold is the test part, from 0
        "windows_per_user": 0,  # training windows per user, for experiments with little data; 0: all
        "gap": 3,  # window indices dropped at a cut between blocks, since windows overlap
        "balanced": True,  # sample users equally often, however many windows each has
        "walkers": {
            "num_users": 6,  # walker_01 …
            "recordings_per_user": 14,  # one walk each
            "windows_per_recording": 8,  # they overlap by three quarters
            "difficulty": 1.0,  # variation between recordings of a user; 1: about as hard to identify as real users
            "nuisances": 1.0,  # starts, stops, turns, echoes, haze, noise …: as in recordings; 0: none, steady walks
            "seed": 0,  # of the walkers, not of training
        },
    }


def encoder() -> dict:
    return {
        "embedding_dim": 512,  # dimensions of the embedding
        "channels": (64, 128, 256, 512),  # width of each level; the size halves from one to the next
        "blocks": 2,  # residual blocks per level
        "patch": (8, 2),  # rows, frames of the patches that the first level works on
        "epochs": 60,  # passes over the training windows; 0, with init_from: that model's encoder as it is
        "batch_size": 64,  # over all devices
        "temperature": 0.1,  # of the supervised-contrastive loss
        "contrastive_weight": 1.0,  # weight of the supervised-contrastive loss
        "classification_weight": 1.0,  # weight of the cross-entropy over users
        "augment": {  # strengths; see mdiff_jax/training/augmentation.py
            "shift": 0.5,  # circular shift in time, share of the window
            "gain": 0.15,  # largest relative change of the level above the noise floor
            "noise": 0.1,  # largest standard deviation of added noise
            "mask": 0.15,  # largest masked span of time or rows, share
        },
        "optimizer": optimizer(learning_rate=1e-3, weight_decay=0.05),
    }


def prior() -> dict:
    return {
        "timesteps": 1000,  # T, noise levels of training
        "sample_timesteps": 64,  # sampling steps
        "schedule": "cosine",  # cosine, linear
        "width": 512,  # of a token
        "depth": 6,  # transformer blocks
        "heads": 8,  # of attention
        "self_condition": True,  # give the previous estimate as an input (Chen et al. 2022)
        "cond_drop_prob": 0.1,  # share of training examples without a user, for guidance
        "epochs": 300,  # passes over the training windows
        "curriculum": (),  # phases of (timesteps, epochs), ((250, 10), (1000, 100)), in place of epochs
        "batch_size": 128,  # over all devices
        "accumulate": 1,  # parts into which a device's share of a batch is divided to save memory
        "optimizer": optimizer(learning_rate=5e-4, weight_decay=0.01),
    }


def decoder() -> dict:
    return {
        "timesteps": 1000,  # T, noise levels of training
        "sample_timesteps": 64,  # sampling steps
        "schedule": "cosine",  # cosine, linear
        "log_snr_shift": -1.0,  # added to the schedule's log-SNR; -2.77 for 256x256 by Hoogeboom et al. 2023
        "zero_terminal_snr": False,  # end the schedule in pure noise (Lin et al. 2023); not with prediction eps
        "prediction": "v",  # v, eps, x0
        "weighting": "plain",  # plain, min_snr (Hang et al. 2023), sigmoid (Hoogeboom et al. 2024)
        "channels": (128, 256, 384, 512),  # width of each level; the size halves from one to the next
        "blocks": 2,  # residual blocks per level
        "attention": (False, False, True, True),  # which levels have attention
        "head_width": 64,  # channels of an attention head
        "patch": (4, 2),  # rows, frames of the patches that the first level works on
        "fine_channels": 32,  # width of layers on 2 x 2 patches that finish what larger ones draw; 0: none
        "occupancy": True,  # predict of each pixel whether it is empty, beside its level
        "cond_width": 512,  # width of the combined condition
        "user_conditioning": True,  # condition the decoder on the user besides the embedding
        "conditioning_noise": 0.5,  # largest standard deviation of noise on standardized embeddings in training
        "floor_margin": 0.25,  # by which the noise floor is lowered below -1; mdiff_jax/diffusion/noise_floor.py
        "cond_drop_prob": 0.1,  # share of training examples without a condition, for guidance
        "epochs": 300,  # passes over the training windows
        "curriculum": (),  # phases of (timesteps, epochs), ((250, 10), (1000, 100)), in place of epochs
        "batch_size": 16,  # over all devices
        "accumulate": 1,  # parts into which a device's share of a batch is divided to save memory
        "optimizer": optimizer(learning_rate=2e-4, weight_decay=0.01),
    }


def distill() -> dict:
    """Of the decoder's student, which draws in a few steps."""
    return {
        "curriculum": (),  # phases of (segments, epochs), ((8, 8), (4, 16)): 8 steps to draw, at last 4; (): no student
        "teacher_timesteps": 64,  # sampling steps of the teacher, the decoder; a multiple of the segments of each phase
        "sample_timesteps": 0,  # sampling steps of the student; 0: as many as the last phase has segments
        "scales": (1.0, 3.0),  # guidance scales to learn, from – to; sample.cond_scale among them
        "huber": 0.00054,  # error below which the loss is quadratic, in units of the model (Song and Dhariwal 2024)
        "batch_size": 16,  # over all devices
        "accumulate": 1,  # parts into which a device's share of a batch is divided to save memory
        "optimizer": optimizer(learning_rate=2e-4, weight_decay=0.0),
    }


def optimizer(learning_rate: float, weight_decay: float) -> dict:
    """AdamW."""
    return {
        "learning_rate": learning_rate,  # peak
        "schedule": "cosine",  # cosine: falls to 0 at the last step; constant
        "warmup_steps": 100,  # linear, from 0 to the peak
        "weight_decay": weight_decay,  # of kernels only
        "clip_norm": 1.0,  # largest norm of the gradients
        "b2": 0.99,  # of Adam; shorter memory for small data sets
    }


def people() -> dict:
    return {
        "references": False,  # prior and decoder know people by reference windows, new ones at once; else by a row each
        "min_references": 5,  # windows of a person at a time, drawn anew for each example of training; also to enroll
        "max_references": 20,  # and at most
        "user_row": True,  # with references: also learn a row of each trained user, added to what references say
        "row_drop_prob": 0.5,  # with references: share of training examples without that row
    }


def sample() -> dict:
    return {
        "num_samples_per_user": 16,  # samples per user
        "cond_scale": 2.0,  # guidance scale of the decoder; 1: none
        "prior_cond_scale": 2.0,  # guidance scale of the prior; 1: none
        "guide": "null",  # what guidance leads away from: null (no condition), early (first checkpoint: keep_early)
        "guidance_interval": (),  # (low, high) log-SNR at which the decoder is guided; (): always
        "guidance_rescale": 0.0,  # of the decoder, 0 to 1: restores the deviation before guidance (Lin et al. 2023)
        "threshold": "clip",  # of the decoder's estimates: clip, or dynamic (Saharia et al. 2022)
        "sampler": "ddim",  # ddim, ddpm, dpmpp_2m, heun
        "spacing": "trailing",  # of the sampling steps: trailing, leading, linspace, logsnr
        "eta": 0.0,  # noise of the sampler ddim, no other: 0: none; 1: as much as DDPM
        "noise_scale": 1.0,  # of the decoder: more than 1 leaves more noise at each step, for more fine structure
        "calibration_windows": 96,  # drawn after training, to match spectrum and levels of recorded windows; 0: none
        "batch_size": 32,  # samples per batch, over all devices
        "teacher": False,  # draw by the decoder itself, in its own steps, where a student is finished too
        "ema_decay": 0.999,  # of the average to sample with, one of ema_decays; the first time also the encoder's
        "checkpoint": "best",  # of prior and decoder: best (lowest validation loss) or latest
    }


def enrollment() -> dict:
    return {
        "min_windows": 5,  # of a new user, that enroll.py asks for at least
        "max_windows": 20,  # and at most
        "steps": 400,  # of Adam, for the prior and for the decoder
        "learning_rate": 0.1,  # at its peak; cosine down to 0
        "update_steps": 70,  # of the decoder by --finetune, with people.references; the prior takes three times as many
        "update_learning_rate": 5e-3,  # of both, at its peak
        "update_rank": 16,  # of what is added to their kernels
        "update_batch_size": 16,  # noised windows a step
        "deviation_penalty": 0.01,  # on how far the prior's row leaves the mixtures of the trained users' rows
        "prior_batch_size": 64,  # noised embeddings a step
        "decoder_batch_size": 8,  # noised windows a step
        "seed": 0,  # of the noise
    }


def summary() -> dict:
    return {
        "grid_columns": 4,  # in grid.png, of real and of generated windows each
        "max_users": 64,  # that are drawn and identified at the end of training
    }

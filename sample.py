"""Draws spectrograms of named users from a trained working directory.

python sample.py --workdir=runs/gait --user_ids=ID_1,ID_3 --num_samples_per_user=4 --sample_timesteps=64
"""

from pathlib import Path

from absl import flags

from mdiff_jax import build, cli
from mdiff_jax.errors import InputError
from mdiff_jax.model import load
from mdiff_jax.sampling import folder_of, write_samples
from mdiff_jax.workdir import Workdir

WORKDIR = flags.DEFINE_string("workdir", None, "Working directory of train.py.")
USER_IDS = flags.DEFINE_string("user_ids", "all", "Names of users, by commas; or all.")
COUNT = flags.DEFINE_integer("num_samples_per_user", None, "Samples of each user.")
STEPS = flags.DEFINE_integer("sample_timesteps", None, "Sampling steps of prior and decoder.")
COND_SCALE = flags.DEFINE_float("cond_scale", None, "Guidance of the decoder; 1: none.")
PRIOR_COND_SCALE = flags.DEFINE_float("prior_cond_scale", None, "Guidance of the prior; 1: none.")
SAMPLER = flags.DEFINE_string("sampler", None, "ddim, ddpm, dpmpp_2m or heun.")
SEED = flags.DEFINE_integer("seed", 0, "Which samples: image i of a user depends on seed and i alone.")
OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Where to; default WORKDIR/samples/SETTINGS.")


def main() -> None:
    if WORKDIR.value is None:
        raise InputError("give --workdir=DIR, the working directory of train.py")
    model = load(WORKDIR.value)

    # ------------------------------------------------------------------- flags over the working directory's defaults
    config = model.config
    overrides = {
        "sample.num_samples_per_user": COUNT.value,
        "prior.sample_timesteps": STEPS.value,
        "decoder.sample_timesteps": STEPS.value,
        "sample.cond_scale": COND_SCALE.value,
        "sample.prior_cond_scale": PRIOR_COND_SCALE.value,
        "sample.sampler": SAMPLER.value,
    }
    config.update_from_flattened_dict({k: v for k, v in overrides.items() if v is not None})
    build.validate(config)

    # ------------------------------------------------------------------- draw
    users = model.users if USER_IDS.value == "all" else tuple(USER_IDS.value.split(","))
    seed = SEED.value
    folder = Path(OUTPUT_DIR.value) if OUTPUT_DIR.value else folder_of(model, Workdir(WORKDIR.value).samples, seed)
    files = write_samples(model, users, config.sample.num_samples_per_user, seed, folder)
    print(f"{len(files)} images of {len(users)} users in {folder}; sheet {folder / 'grid.png'}")


if __name__ == "__main__":
    cli.run(main)

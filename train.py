"""Trains encoder, prior and decoder in order, then draws samples and says how good they are.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart [--config.key=value …]

The same command resumes an interrupted run.
"""

from absl import flags
from ml_collections import config_flags

from mdiff_jax import cli, summary, trainer
from mdiff_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, for example configs/gait.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics, samples; made if absent.")


def main() -> None:
    if CONFIG.value is None or WORKDIR.value is None:
        raise InputError("give both: --config=configs/NAME.py --workdir=DIR")
    trainer.train(CONFIG.value, WORKDIR.value)
    if CONFIG.value.stage in ("all", "decoder"):
        summary.report(WORKDIR.value)


if __name__ == "__main__":
    cli.run(main)

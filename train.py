"""Trains encoder, prior, decoder and perhaps its student in order, then samples windows and prints an evaluation.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart [--config.key=value …]

The same command resumes an interrupted run. With --help and --config, the keys of the configuration are listed.
"""

import runpy
import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from mdiff_jax.evaluation import summary
from mdiff_jax.runtime import cli, parallel, processes, ranges
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import train_loop
from mdiff_jax.validation import flatten

ARGUMENTS = [a for a in sys.argv if "flagfile" not in a]  # which would be read here, before errors are caught
CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, for example configs/gait.py.", sys_argv=ARGUMENTS
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and samples; created if absent.")
COORDINATOR = flags.DEFINE_string("coordinator_address", None, "HOST:PORT of the first of several processes.")
PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes; one per host.")
PROCESS = flags.DEFINE_integer("process_id", None, "Index of this process, from 0.")

cli.require_paths(WORKDIR, folders=True)
cli.limit(ranges.PROCESSES, PROCESSES)
cli.limit(ranges.PROCESS, PROCESS)


def main() -> None:
    if CONFIG.value is None or WORKDIR.value is None:
        raise InputError("give both: --config=configs/NAME.py --workdir=DIR")
    with processes.connect(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        train_loop.train(CONFIG.value, WORKDIR.value)
        if CONFIG.value.stage in ("all", "decoder", "distill") and not CONFIG.value.dry_run:
            text = summary.summarize_run(WORKDIR.value)
            if parallel.is_first():
                print(text, flush=True)


def list_keys() -> str:
    """Returns a line for each key of the given configuration, with its comment in configs/default.py."""
    comments = runpy.run_path(str(Path(__file__).parent / "docs" / "make_configuration.py"))["key_comments"]()
    values = flatten(CONFIG.value.to_dict())
    return "\n".join(f"  --config.{key}={values[key]}  {comments.get(key, '')}" for key in values)


if __name__ == "__main__":
    cli.run(main, list_keys)

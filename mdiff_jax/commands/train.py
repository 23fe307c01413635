"""Trains encoder, prior, decoder and perhaps its student in order, then samples windows and prints an evaluation.

python train.py --config=quickstart --workdir=runs/quickstart [--config.key=value …]

The same command resumes an interrupted run.
"""

import os
from typing import Any

from mdiff_jax.data import files
from mdiff_jax.runtime import ranges
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags
from mdiff_jax.runtime.progress import doing
from mdiff_jax.validation import validate

FLAGS = Flags()

FLAGS.group("run")
FLAGS.config_file("Configuration: one that comes with the package, as gait_cpu, or a file of your own.")
WORKDIR = FLAGS.folder("workdir", "Folder for checkpoints, metrics and samples; created if absent.")

FLAGS.group("several processes, one on each host; on a TPU pod they find each other")
COORDINATOR = FLAGS.text("coordinator_address", None, "HOST:PORT of the first process.")
PROCESSES = FLAGS.integer("num_processes", None, "Number of processes.", ranges.PROCESSES)
PROCESS = FLAGS.integer("process_id", None, "Index of this process, from 0.", ranges.PROCESS)


def refuse_missing_recordings(data: Any) -> None:
    """Raises InputError where there is nothing to prepare windows from: before JAX is imported, which takes seconds."""
    from mdiff_jax.runtime.workdir import Workdir

    if COORDINATOR.value or "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):  # of several processes the first looks
        return
    if data.kind == "folder" and not Workdir(WORKDIR.value).data.exists() and not files.has_entries(data.path):
        raise files.missing_source(data.path)


def main() -> None:
    config = FLAGS.config
    if config is None or WORKDIR.value is None:
        raise InputError("give both: --config=NAME --workdir=DIR")
    validate(config)
    refuse_missing_recordings(config.data)

    with doing("starting", in_logs=False):
        from mdiff_jax.api import tasks
        from mdiff_jax.runtime import processes

    with processes.connect(COORDINATOR.value, PROCESSES.value, PROCESS.value):
        tasks.train_and_summarize(config, WORKDIR.value)

"""Laws of the logs: continued without a seam, written by the first process alone."""

import errno
import json
import resource
import signal
import struct

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from mdiff_jax.runtime.errors import InputError, explain_disk_errors
from mdiff_jax.runtime.metric_writer import RunLog, StageMetricWriter, open_metrics_file, read_metrics
from mdiff_jax.runtime.workdir import Workdir


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_resuming_drops_lines_that_come_again_and_a_line_cut_short(tmp_path):
    path, run_log = tmp_path / "encoder" / "metrics.jsonl", RunLog(Workdir(tmp_path), writes=True)
    with StageMetricWriter(run_log, "encoder", 0, 5, tensorboard=False) as log:
        for step in (1, 2, 3):
            log.write_scalars(step, {"loss": 0.5})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    with StageMetricWriter(run_log, "encoder", 2, 5, tensorboard=False) as again:
        again.write_scalars(3, {"loss": 0.25})
    assert steps(path) == [1, 2, 3]
    assert json.loads(path.read_text().splitlines()[-1]) == {"step": 3, "loss": 0.25}


def test_only_the_first_process_writes(tmp_path):
    silent = RunLog(Workdir(tmp_path), writes=False)
    silent.log("nothing")
    with StageMetricWriter(silent, "encoder", 0, 5, tensorboard=True) as log:
        log.write_scalars(1, {"loss": 0.5})
    assert not list(tmp_path.iterdir())


def test_damaged_lines_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        b'{"step": 1}\n{"step": "two"}\n[3]\n4\n{"step": \xff\xfe}\n{"step": [2]}\n{"loss": 0.1}\n{"step": 2}\n{"st'
    )
    open_metrics_file(path, 5).close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.parametrize("tensorboard", [False, True])
def test_a_disk_that_takes_no_more_is_one_error_and_nothing_hangs(tmp_path, tensorboard):
    """A limit on the size of files stands for a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    values = {f"loss_{i}": 0.5 for i in range(20)} if tensorboard else {"loss": 0.5}
    run_log = RunLog(Workdir(tmp_path), writes=True)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
        with pytest.raises(InputError, match=f"cannot write to {tmp_path} .*: free some space, then repeat"):  # noqa: SIM117
            with explain_disk_errors(tmp_path), StageMetricWriter(run_log, "encoder", 0, 999, tensorboard) as log:
                for step in range(999):
                    log.write_scalars(step, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "file"),
        RuntimeError("Failed to finalize: write() failed: No space left on device; writing x"),
    ],
)
def test_errors_of_a_full_disk_are_explained_and_others_left_alone(tmp_path, error):
    with pytest.raises(InputError, match=r"\(No space left on device\): free some space, then repeat the command$"):  # noqa: SIM117
        with explain_disk_errors(tmp_path):
            raise error
    with pytest.raises(ValueError, match="other"), explain_disk_errors(tmp_path):
        raise ValueError("other")


def test_tensorboard_reads_what_is_written(tmp_path):
    run_log = RunLog(Workdir(tmp_path), writes=True)
    with StageMetricWriter(run_log, "encoder", 3, 5, tensorboard=True) as log:
        log.write_scalars(4, {"loss": 0.5})
        log.write_image(4, "sheet", np.zeros((2, 3, 3), np.uint8))
    (path,) = (tmp_path / "tensorboard" / "encoder").iterdir()
    records, events = path.read_bytes(), []
    while records:  # length, its checksum, data, its checksum
        (size,) = struct.unpack("<Q", records[:8])
        events.append(Event.FromString(records[12 : 12 + size]))
        records = records[16 + size :]
    assert events[0].file_version and events[1].session_log.status and events[1].step == 4
    assert [(e.step, e.summary.value[0].tag) for e in events[2:]] == [(4, "loss"), (4, "sheet")]
    assert events[2].summary.value[0].simple_value == 0.5


def test_whole_lines_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    path.write_text('{"step": 1, "loss": 0.5}\n{"loss": 1}\nnot JSON\n[3]\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
    assert [row["step"] for row in read_metrics(path)] == [1, 2]

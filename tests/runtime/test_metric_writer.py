"""Laws of the logs: continued without a seam, written by the first process alone."""

import json

from mdiff_jax.runtime.metric_writer import RunLog, StageMetricWriter, open_metrics_file
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

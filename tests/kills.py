"""Kills a training with SIGKILL again and again, at random moments, and compares what it becomes in the end with a run
that was left in peace: parameters, averages, optimiser, losses, bit for bit. Then times SIGTERM.

python tests/kills.py [--kills=20] [--seed=0]

By hand: it takes minutes. The default tests hold the same law with fewer interruptions.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[1]
STAGES = ("encoder", "prior", "decoder")
SAVING = ("--config.checkpoint_every=3", "--config.log_every=1")


def start(workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "train.py", "--config=configs/tiny.py", f"--workdir={workdir}", *SAVING]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def state(workdir: Path, stage: str) -> tuple[int, dict]:
    """(step, leaf name → array) of the last checkpoint."""
    with ocp.CheckpointManager(workdir / stage / "checkpoints") as manager:
        step = manager.latest_step()
    tree = ocp.PyTreeCheckpointer().restore(workdir / stage / "checkpoints" / str(step) / "state")
    return step, {
        jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def losses(workdir: Path, stage: str) -> list:
    lines = map(json.loads, (workdir / stage / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line[key]) for line in lines for key in ("loss", "validation_loss") if key in line]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        peaceful, killed, ended = (Path(folder) / name for name in ("peaceful", "killed", "ended"))
        began = time.time()
        assert start(peaceful).wait() == 0
        whole, during_save, number = time.time() - began, 0, 0
        while number < given.kills:
            process = start(killed)
            try:
                process.wait(timeout=rng.uniform(0.2, 0.9) * whole)
                shutil.rmtree(killed)  # finished too soon: begin again, so that there is something to kill
            except subprocess.TimeoutExpired:
                during_save += bool(list(killed.glob("*/checkpoints/*tmp*")))
                process.kill()
                process.wait()
                number += 1
                print(f"kill {number} of {given.kills}", flush=True)
        assert start(killed).wait() == 0
        for stage in STAGES:
            (step, a), (other, b) = state(peaceful, stage), state(killed, stage)
            assert step == other and a.keys() == b.keys(), stage
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=f"{stage} {name}")
            assert losses(peaceful, stage) == losses(killed, stage), stage
            print(f"{stage}: {len(a)} arrays and {len(losses(killed, stage))} losses equal bit for bit at step {step}")
        print(
            f"{number} kills in {given.kills} runs of about {whole:.0f} s, {during_save} while a checkpoint was written"
        )
        for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
            process = start(ended / f"{share}")
            time.sleep(share * whole)
            asked = time.time()
            process.send_signal(signal.SIGTERM)
            status = process.wait()
            print(f"SIGTERM {share:.0%} into a run: left with status {status} after {time.time() - asked:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

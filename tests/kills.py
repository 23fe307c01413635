"""Kills a command with SIGKILL again and again, at random moments, and compares what it makes in the end with what it
makes when it is left in peace, bit for bit: a training's parameters, averages, optimizer and losses; samples; prepared
windows. Of two training processes one is killed, and both must end.

python tests/kills.py [--what=training|sampling|preparation] [--processes=1] [--kills=20] [--seed=0] [--config=…]

By hand: it takes minutes. The default tests hold the same law with fewer interruptions.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).parents[1]
STAGES = ("encoder", "prior", "decoder")
SAVING = ("--config.checkpoint_every=3", "--config.log_every=1")
END_SECONDS = 60  # for the other processes to end after one was killed


# ----------------------------------------------------------------------------- commands


def start(*command: str) -> subprocess.Popen:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=quiet, stderr=quiet, env=environment)


def start_training(config: str, workdir: Path, processes: int = 1) -> list[subprocess.Popen]:
    command = ["train.py", f"--config={config}", f"--workdir={workdir}", *SAVING]
    if processes == 1:
        return [start(*command)]
    with socket.socket() as s:
        s.bind(("localhost", 0))
        several = [f"--coordinator_address=localhost:{s.getsockname()[1]}", f"--num_processes={processes}"]
    return [start(*command, *several, f"--process_id={i}") for i in range(processes)]


def finish(running: list[subprocess.Popen]) -> None:
    statuses = [process.wait() for process in running]
    assert statuses == [0] * len(running), f"ended with status {statuses}"


def kill(running: list[subprocess.Popen], rng: random.Random) -> str:
    """Kills one of the processes; the others must end by themselves. Returns what happened."""
    victim = rng.randrange(len(running))
    running[victim].kill()
    began = time.time()
    statuses = [process.wait(timeout=END_SECONDS) for process in running]
    if len(running) == 1:
        return "killed"
    assert statuses[victim] == -signal.SIGKILL and 0 not in statuses, statuses
    return f"process {victim} killed, the other left with {statuses[1 - victim]} after {time.time() - began:.1f} s"


def wait_until(condition: Callable[[], bool], running: list[subprocess.Popen]) -> bool:
    """Waits for a condition; returns whether it came before the end of the processes."""
    while not condition():
        if any(process.poll() is not None for process in running):
            return condition()
        time.sleep(0.02)
    return True


def kill_repeatedly(
    begin: Callable[[], list[subprocess.Popen]],
    begun: Callable[[], bool],
    seconds: float,
    anew: Callable[[], None],
    note: Callable[[], str],
    given: argparse.Namespace,
) -> None:
    """Starts a command and kills it up to `seconds` after it has `begun`, again and again; one line a kill.

    A command that ends sooner is not counted: it is started `anew`, so that there is something to kill.
    """
    rng, number = random.Random(given.seed), 0
    while number < given.kills:
        running = begin()
        wait_until(begun, running)
        delay = rng.uniform(0.05, 0.95) * seconds
        until = time.time() + delay
        while time.time() < until and all(process.poll() is None for process in running):
            time.sleep(0.02)
        if any(process.poll() is not None for process in running):
            finish(running)
            anew()
            continue
        noted, how = note(), kill(running, rng)
        number += 1
        print(f"kill {number} of {given.kills}: {how}, {delay:.1f} s into it{noted}", flush=True)


# ----------------------------------------------------------------------------- what is compared


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


def assert_same_training(peaceful: Path, killed: Path) -> None:
    for stage in STAGES:
        (step, a), (other, b) = state(peaceful, stage), state(killed, stage)
        assert step == other and a.keys() == b.keys(), stage
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{stage} {name}")
        assert losses(peaceful, stage) == losses(killed, stage), stage
        print(f"{stage}: {len(a)} arrays and {len(losses(killed, stage))} losses equal bit for bit at step {step}")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same_files(peaceful: Path, killed: Path) -> None:
    a, b = files(peaceful), files(killed)
    assert a.keys() == b.keys(), f"only in one: {sorted(a.keys() ^ b.keys())}"
    changed = [name for name in a if a[name] != b[name]]
    assert not changed, f"other bytes in {changed}"
    print(f"{len(a)} files equal bit for bit")


# ----------------------------------------------------------------------------- what is killed


def kill_training(given: argparse.Namespace, folder: Path) -> None:
    peaceful, killed, began = folder / "peaceful", folder / "killed", time.time()
    finish(start_training(given.config, peaceful, given.processes))
    whole, during_save = time.time() - began, []

    def note() -> str:
        saving = bool(list(killed.glob("*/checkpoints/*tmp*")))
        during_save.append(saving)
        return ", while a checkpoint was written" if saving else ""

    kill_repeatedly(
        lambda: start_training(given.config, killed, given.processes),
        lambda: True,
        whole,
        lambda: shutil.rmtree(killed),
        note,
        given,
    )
    finish(start_training(given.config, killed, given.processes))
    assert_same_training(peaceful, killed)
    print(f"{given.kills} kills of runs of about {whole:.0f} s, {sum(during_save)} while a checkpoint was written")
    if given.processes == 1:
        time_sigterm(given.config, folder, whole)


def time_sigterm(config: str, folder: Path, whole: float) -> None:
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        (process,) = start_training(config, folder / f"{share}")
        time.sleep(share * whole)
        asked = time.time()
        process.send_signal(signal.SIGTERM)
        status = process.wait()
        print(f"SIGTERM {share:.0%} into a run: left with status {status} after {time.time() - asked:.1f} s")


def kill_sampling(given: argparse.Namespace, folder: Path) -> None:
    run, peaceful, killed = folder / "run", folder / "peaceful", folder / "killed"
    finish(start_training(given.config, run))
    settings = ("--num_samples_per_user=64", "--batch_size=4", "--npz", "--sample_timesteps=200")
    there = lambda: len(list(killed.rglob("*.png")))  # noqa: E731
    at_start = 0

    def draw(out: Path) -> list[subprocess.Popen]:
        nonlocal at_start
        if (out / "samples.npz").exists():  # all was drawn before the kill
            shutil.rmtree(out)
        at_start = there()
        return [start("sample.py", f"--workdir={run}", f"--output_dir={out}", *settings)]

    running = draw(peaceful)
    wait_until(peaceful.exists, running)
    began = time.time()
    finish(running)
    seconds = time.time() - began
    kill_repeatedly(
        lambda: draw(killed),
        lambda: there() > at_start,
        seconds / 4,  # of the rest that is left to draw after a kill
        lambda: shutil.rmtree(killed),
        lambda: f", {there()} images there",
        given,
    )
    finish(draw(killed))
    assert_same_files(peaceful, killed)
    print(f"{given.kills} kills of a sampling of about {seconds:.1f} s")


def kill_preparation(given: argparse.Namespace, folder: Path) -> None:
    peaceful, killed = folder / "peaceful", folder / "killed"
    begun = lambda workdir: any(workdir.glob(".*.data"))  # noqa: E731, the folder that takes the place of data at the end

    def prepare(workdir: Path) -> float:
        """Lets a training run until its data is prepared; returns the seconds that took."""
        running = start_training(given.config, workdir)
        wait_until(lambda: begun(workdir), running)
        began = time.time()
        assert wait_until((workdir / "config.json").exists, running)
        seconds = time.time() - began
        running[0].kill()
        running[0].wait()
        return seconds

    seconds = prepare(peaceful)
    ended = lambda: ", when it was done" if (killed / "config.json").exists() else ""  # noqa: E731

    def begin() -> list[subprocess.Popen]:
        if (killed / "config.json").exists():  # all was prepared before the kill
            shutil.rmtree(killed)
        return start_training(given.config, killed)

    kill_repeatedly(begin, lambda: begun(killed), seconds, lambda: shutil.rmtree(killed), ended, given)
    if not (killed / "config.json").exists():
        prepare(killed)
    assert_same_files(peaceful / "data", killed / "data")
    assert (peaceful / "split.json").read_bytes() == (killed / "split.json").read_bytes()
    print(f"{given.kills} kills of a preparation of about {seconds:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = {"training": kill_training, "sampling": kill_sampling, "preparation": kill_preparation}
    parser.add_argument("--what", choices=kinds, default="training")
    parser.add_argument("--processes", type=int, default=1, help="of a training")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", default="configs/tiny.py")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds[given.what](given, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Laws of checkpoints: what comes back is what went in; anything else is refused by name."""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.runtime import checkpointing
from mdiff_jax.runtime.checkpointing import CheckpointReader, Checkpoints
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import optimizers, train_state


def make(width=3, decay=0.9):
    optimizer = optimizers.make_adamw(lambda _: 0.1, weight_decay=0.0, clip_norm=1.0, b2=0.99)
    params = {"layer": {"kernel": jnp.arange(2.0 * width).reshape(2, width), "bias": jnp.ones(width)}}
    return train_state.create_train_state(params, optimizer, (decay,), {"mean": jnp.full(2, 5.0)}, dynamic_scale=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make().replace(step=jnp.asarray(step)), {"users": ["ID_1", "步行者"]})
    return folder


def numbered(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_round_trip_bit_for_bit(saved):
    with Checkpoints(saved) as checkpoints:
        back = checkpoints.restore(checkpoints.latest(), jax.eval_shape(make))
    expected = make().replace(step=jnp.asarray(3))
    assert jax.tree.structure(back) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, back, expected)
    assert {type(x) for x in jax.tree.leaves(back)} == {np.ndarray}


def test_a_working_directory_is_given_by_any_path(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = Workdir("../run").checkpoints("prior")
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, make(), {})
    CheckpointReader(folder).restore(1, jax.eval_shape(make))
    assert numbered(tmp_path / "run" / "prior" / "checkpoints") == [1]


def test_only_the_latest_are_kept_and_meta_survives(saved):
    assert numbered(saved) == [2, 3]
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.meta(3)["users"] == ["ID_1", "步行者"]
        assert checkpoints.best() == 3, "the latest, where no loss was measured"


def test_the_best_and_those_at_given_steps_are_kept_beside_the_latest(tmp_path):
    with Checkpoints(tmp_path, keep=2, keep_at=[4]) as checkpoints:
        for step, loss in enumerate((5.0, 4.0, 1.0, 3.0, None, 5.0, 6.0), start=1):
            checkpoints.save(step, {"w": np.ones(2)}, {}, loss)
    assert numbered(tmp_path) == [3, 4, 6, 7]
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.best(), checkpoints.latest()) == (3, 7)


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def turn_a_bit(folder):
    data = bytearray((path := largest(folder)).read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def change_a_value(folder):
    """JSON that is still JSON."""
    path = folder / "meta" / "metadata"
    path.write_text(path.read_text().replace("ID_1", "ID_7"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: os.truncate(path := largest(folder), path.stat().st_size // 2),
        lambda folder: largest(folder).unlink(),
        lambda folder: os.truncate(folder / "meta" / "metadata", 5),
        lambda folder: (folder / "meta" / "metadata").unlink(),
        lambda folder: (folder / "state" / "manifest.ocdbt").unlink(),
        lambda folder: shutil.rmtree(folder / "state"),
        lambda folder: [shutil.rmtree(folder), folder.touch()],
        lambda folder: [os.mkfifo(folder / "pipe"), (folder / "pipe").replace(largest(folder))],
        turn_a_bit,
        change_a_value,
    ],
    ids=["cut", "missing", "meta cut", "no meta", "no manifest", "no state", "a file", "a pipe", "one bit", "a value"],
)
def test_a_damaged_checkpoint_is_not_taken_but_the_one_before_it(tmp_path, damage):
    folder, said = tmp_path / "checkpoints", []
    values = np.random.default_rng(0).normal(size=(2, 100, 100))
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, {"w": values[step - 1]}, {"users": ["ID_1"]}, validation_loss=0.1 * step)
    (tmp_path / "damaged_2_1").mkdir()  # of another time
    damage(folder / "2")
    with Checkpoints(folder) as checkpoints:
        step, back = checkpoints.restore_latest({"w": values[0]}, said.append)
        checkpoints.save(2, {"w": values[1]}, {})
    assert step == 1 and "cannot be read" in said[0] and (tmp_path / "damaged_2_2").exists()
    assert (
        len(said) == 1
        and "\n" not in said[0]
        and said[0].endswith("set aside as damaged_2_2, training goes on from step 1")
    )
    np.testing.assert_array_equal(back["w"], values[0])
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore_latest({"w": values[0]}, said.append)[0] == 2 and len(said) == 1


def test_damage_to_an_older_checkpoint_does_not_stop_training(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, loss in ((1, 0.1), (2, 0.2)):
            checkpoints.save(step, {"w": np.ones(2)}, {}, loss)
    for path in (tmp_path / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_latest({"w": np.ones(2)}, pytest.fail)[0] == 2
        checkpoints.save(3, {"w": np.ones(2)}, {}, 0.3)
    assert numbered(tmp_path) == [2, 3]


def test_the_remedy_of_a_damaged_checkpoint_helps(tmp_path):
    """Training looks at the latest alone, so an older one, which may be the best, is for the user to remove."""
    with Checkpoints(tmp_path) as checkpoints:
        for step, loss in ((1, 0.1), (2, 0.2)):
            checkpoints.save(step, {"w": np.ones(2)}, {}, loss)
    reader = CheckpointReader(tmp_path)
    for step, remedy in ((1, "remove it"), (2, r"run train\.py")):
        (tmp_path / str(step) / "state" / "manifest.ocdbt").unlink()
        with pytest.raises(InputError, match=rf"checkpoints?.*/{step} cannot be read .*{remedy}"):
            reader.restore(step, {"w": np.ones(2)})
    shutil.rmtree(tmp_path / "1")
    assert reader.best() == 2


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), Stopped(15)])
def test_only_damage_is_set_aside(saved, monkeypatch, error):
    """A checkpoint that there is no memory for, or whose reading was interrupted, is a good one."""

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(checkpointing.ts, "open", fail)
    with Checkpoints(saved) as checkpoints, pytest.raises(type(error)):
        checkpoints.restore_latest(jax.eval_shape(make), pytest.fail)
    assert numbered(saved) == [2, 3]


@pytest.mark.parametrize("text", ["Permission denied", "Too many open files"])
def test_what_the_system_refuses_is_no_damage(saved, monkeypatch, text):
    def fail(*args, **kwargs):
        raise ValueError(f'PERMISSION_DENIED: Error opening "x": {text} [OS error]')  # as tensorstore does

    monkeypatch.setattr(checkpointing.ts, "open", fail)
    with Checkpoints(saved) as checkpoints, pytest.raises(InputError, match=f"3 cannot be read .{text}"):
        checkpoints.restore_latest(jax.eval_shape(make), pytest.fail)
    assert numbered(saved) == [2, 3]


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_reader_changes_nothing(saved):
    """Above all not a save that training has under way."""
    under_way = saved / "4.orbax-checkpoint-tmp" / "state"
    under_way.mkdir(parents=True)
    before = listing(saved)
    reader = CheckpointReader(saved)
    assert reader.latest() == reader.best() == 3
    reader.restore(3, jax.eval_shape(make))
    missing = CheckpointReader(saved.parent / "missing")
    assert missing.latest() is None and not missing.directory.exists()
    assert listing(saved) == before
    shutil.rmtree(under_way.parent)


def test_reading_goes_on_while_checkpoints_come_and_go(tmp_path):
    """A save a few milliseconds, each of which removes another: every read is whole."""
    like, ended, seen = {"w": np.zeros(1000)}, threading.Event(), set()

    def read():
        reader = CheckpointReader(tmp_path)
        while not ended.is_set():
            step = reader.read_while_written(reader.latest)
            if step is not None:
                read = lambda: (step := reader.latest(), reader.restore(step, like))  # noqa: E731
                step, state = reader.read_while_written(read)
                assert (state["w"] == step).all()
                seen.add(step)

    with concurrent.futures.ThreadPoolExecutor() as pool, Checkpoints(tmp_path, keep=1) as checkpoints:
        reading = pool.submit(read)
        for step in range(1, 41):
            checkpoints.save(step, {"w": np.full(1000, float(step))}, {})
        ended.set()
        reading.result()
    assert numbered(tmp_path) == [40] and len(seen) > 3


def test_a_full_disk_is_said_and_costs_one_checkpoint(tmp_path):
    """Files may not grow beyond a limit: what the system says then reaches the user as one line."""
    program = """
import resource, sys
import numpy as np
from mdiff_jax.runtime import checkpointing
from mdiff_jax.runtime.checkpointing import CheckpointReader, Checkpoints
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.workdir import Workdir
import signal, logging
logging.disable(logging.CRITICAL)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with Checkpoints(__import__("pathlib").Path(sys.argv[1])) as checkpoints:
        checkpoints.save(1, {"w": np.random.default_rng(0).normal(size=1000)}, {})
        checkpoints._manager.wait_until_finished()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        checkpoints.save(2, {"w": np.random.default_rng(0).normal(size=100000)}, {})
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "step 1 is the last that is safe" in done.stdout.splitlines()[-1], done.stdout + done.stderr
    with Checkpoints(tmp_path) as checkpoints:
        step, back = checkpoints.restore_latest({"w": np.zeros(1000)}, print)
    assert step == 1 and back["w"].std() > 0.5


def test_the_averages_alone(saved):
    shapes = {"ema": {"0.9": jax.eval_shape(make).params}}
    with Checkpoints(saved) as checkpoints:
        part = checkpoints.restore_part(3, shapes)
    jax.tree.map(np.testing.assert_array_equal, part["ema"]["0.9"], make().params)


@pytest.mark.parametrize(
    ("like", "leaf"),
    [
        (lambda: make(width=4), r"bias.*float32\[3\].*float32\[4\]"),
        (lambda: make(decay=0.8), r"no leaf 'ema.0.8"),
        (lambda: make().replace(constants={}), "unknown leaf 'constants.mean'"),
        (lambda: make().replace(step=jnp.zeros((), jnp.float32)), r"'step' is int32\[\]"),
    ],
)
def test_a_mismatch_names_the_leaf(saved, like, leaf):
    with Checkpoints(saved) as checkpoints, pytest.raises(InputError, match=leaf):
        checkpoints.restore(3, jax.eval_shape(like))


def test_an_unfinished_save_is_not_taken(saved):
    leftover = saved / "4.orbax-checkpoint-tmp"
    leftover.mkdir()
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.latest() == 3

"""Files of a working directory are whole or absent, and one process at a time writes there."""

import errno
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mdiff_jax.runtime import workdir
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, atomic_write, read_json, read_npz, write_json


def test_json_is_replaced_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a" / "x.json"
    write_json(path, {"user": "步行者"})
    write_json(path, {"user": "ID_1"})
    assert json.loads(path.read_text()) == {"user": "ID_1"}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, object())
    assert path.read_text() == "1\n" and len(list(tmp_path.iterdir())) == 1


def test_what_is_not_a_working_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a working directory"):
        Workdir(tmp_path).read_config()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        Workdir(tmp_path).read_config()


def test_a_second_writer_is_kept_out_and_a_killed_one_is_not_waited_for(tmp_path):
    root = tmp_path / "runs" / "new"
    hold = "import sys, time; from mdiff_jax.runtime.workdir import Workdir; lock = Workdir(sys.argv[1]).locked()"
    hold += "; lock.__enter__(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(root)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="written by another process"), Workdir(root).locked():
            pass
        other.kill()
    with Workdir(root).locked():
        assert (root / ".lock").is_file()
    assert not (tmp_path / "runs" / "new" / ".lock").exists()
    with Workdir(tmp_path / "a" / "b").locked():
        pass
    assert not (tmp_path / "a").exists(), "what was made for the lock alone is taken away again"


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path):
    write_json(path := tmp_path / "config.json", 1)
    full = r"config\.json could not be written \(No space left.*repeat the command"
    with pytest.raises(InputError, match=full) as error, atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "\n" not in str(error.value)
    assert path.read_text() == "1\n" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Not a directory|File exists"):
        write_json(tmp_path / "file" / "x.json", 1)
    with pytest.raises(InputError, match=r"Not a directory|File exists"), Workdir(tmp_path / "file").locked():
        pass


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    begin = "import sys, time; from pathlib import Path; from mdiff_jax.runtime.workdir import atomic_write"
    begin += "; write = atomic_write(Path(sys.argv[1])); write.__enter__().touch(); print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", begin, str(tmp_path / "x.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as dead, subprocess.Popen(command, stdout=-1) as alive:
        dead.stdout.readline(), alive.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 2
        dead.kill(), dead.wait()
        workdir.remove_leftovers.cache_clear()
        write_json(tmp_path / "y.json", 1)
        left = [path.name for path in tmp_path.iterdir() if path.name != "y.json"]
        assert len(left) == 1 and f".{alive.pid}.x.json" in left[0]
        alive.kill()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"[1]", "not a JSON object"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a":' + 100000 * b"[", "recursion"),
        (b'{"a": ' + 5000 * b"9" + b"}", "digits"),
        (None, "missing"),
    ],
)
def test_json_that_is_none_is_one_line_with_the_remedy(tmp_path, content, reason):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.json cannot be read \(.*{reason}.*\): restore it$") as error:
        read_json(path, "restore it")
    assert "\n" not in str(error.value)


def test_only_regular_files_of_a_sane_size_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="it is not a file"):
        read_json(tmp_path / "pipe", "restore it")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)  # takes no room
    with pytest.raises(InputError, match="1099511627776 bytes"):
        read_json(tmp_path / "large", "restore it")


def test_arrays_are_read_as_they_were_written(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3).T, "empty": np.zeros((0, 4), np.float16), "name": np.array("步行者")}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    read = read_npz(tmp_path / "x.npz", "", 10000)
    assert read.keys() == arrays.keys()
    for name, x in arrays.items():
        np.testing.assert_array_equal(read[name], x, strict=True)


def npy(shape, data=b"", dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy("(100000000000,)"), "cannot reshape"),
        (npy("(2,)", b"\x00" * 12), "cannot reshape"),
        (npy("(1,)", b"\x00" * 8, "|O"), "not numbers"),
        (npy("(1,)", np.float32("nan").tobytes()), "NaN"),
        (b"\x00" * 10**7, "more than 1000000 bytes"),
        (b"no array", "magic string"),
    ],
)
def test_arrays_that_lie_are_refused_before_memory_is_taken(tmp_path, content, reason):
    with zipfile.ZipFile(path := tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(InputError, match=rf"x\.npz cannot be read \(.*{reason}.*\): restore it$"):
        read_npz(path, "restore it", 10**6)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    """What was killed leaves a hidden folder, which the next writer removes; what failed leaves nothing."""
    with pytest.raises(ZeroDivisionError), workdir.atomic_folder(tmp_path / "old" / "walkers") as folder:
        (folder / "half").write_text("")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    target = tmp_path / "new" / "walkers"
    killed = target.with_name(f"{workdir.TEMPORARY_PREFIX}{2**22 + 1}.walkers")  # above the largest number of a process
    killed.mkdir(parents=True)
    (killed / "half").write_text("")
    with workdir.atomic_folder(target) as folder:
        (folder / "whole").write_text("")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["walkers"] and (target / "whole").exists()

"""Files of a working directory are whole or absent, and one process at a time writes there."""

import json
import subprocess
import sys

import pytest

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json


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

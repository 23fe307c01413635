"""The number of devices and processes changes nothing: losses, gradients, parameters, samples."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("on_devices.py")


def start(devices: int, *arguments: str) -> subprocess.Popen:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(PROGRAM.parents[2])}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(PROGRAM), *arguments], env=env, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def results():
    """By how it was run: one device, four, and two processes with two each."""
    address = f"localhost:{free_port()}"
    alone = {"one": start(1), "four": start(4)}
    found = {name: finish(process) for name, process in alone.items()}
    pair = [start(2, address, "2", str(i)) for i in (0, 1)]
    found["two by two"], found["its second"] = map(finish, pair)
    assert [found[name]["devices"] for name in ("one", "four", "two by two")] == [1, 4, 4]
    return found


@pytest.mark.thorough
@pytest.mark.parametrize("other", ["four", "two by two", "its second"])
@pytest.mark.parametrize("name", ["encoder", "prior"])
def test_training_does_not_depend_on_the_number_of_devices_or_processes(results, name, other):
    """Loss, gradient norm and parameters after fifty steps."""
    for a, b in zip(results["one"][name], results[other][name], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("other", ["four", "two by two", "its second"])
def test_samples_do_not_depend_on_the_number_of_devices(results, other):
    np.testing.assert_allclose(results["one"]["samples"], results[other]["samples"], rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["one", "two by two", "its second"])
def test_all_processes_are_told_what_the_first_returns_or_raises(results, name):
    assert results[name]["told"] == {"by": 0}
    assert results[name]["refused"] == "said by 0"

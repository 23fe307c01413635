"""The number of devices changes nothing: losses, gradients and samples of one device and of four."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("on_devices.py")


def run(devices: int) -> dict:
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    env = os.environ | flags | {"PYTHONPATH": str(PROGRAM.parents[1])}
    done = subprocess.run([sys.executable, str(PROGRAM)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one_and_four():
    one, four = run(1), run(4)
    assert (one["devices"], four["devices"]) == (1, 4)
    return one, four


@pytest.mark.parametrize("name", ["encoder", "prior"])
def test_training_does_not_depend_on_the_number_of_devices(one_and_four, name):
    one, four = one_and_four
    for a, b in zip(one[name], four[name], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_samples_do_not_depend_on_the_number_of_devices(one_and_four):
    one, four = one_and_four
    np.testing.assert_allclose(one["samples"], four["samples"], rtol=1e-6)

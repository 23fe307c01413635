"""How scripts end."""

import subprocess
import sys

import pytest

LOST = """
import gc, os, signal, sys, threading, time
from mdiff_jax.runtime import cli, preemption

def lose(phase, info):
    gc.callbacks.clear()
    os.kill(os.getpid(), signal.{name})
    for _ in range(1000):
        pass

def start_slowly(thread, start=threading.Thread.start):
    start(thread)
    time.sleep(0.3)  # as on a busy machine, where the new thread runs first

def main():
    threading.Thread.start = start_slowly
    gc.callbacks.append(lose)
    gc.collect()
    time.sleep(30)
    print("lost")

sys.argv = ["script"]
{start}
"""


@pytest.mark.parametrize(
    ("name", "start", "status"),
    [
        ("SIGINT", "cli.guard(main)", 130),
        ("SIGINT", "with preemption.PreemptionHandler(8.0): cli.guard(main)", 130),
        ("SIGTERM", "with preemption.PreemptionHandler(8.0): cli.guard(main)", 143),
    ],
)
def test_a_signal_that_a_callback_ignores_is_not_lost(name, start, status):
    done = subprocess.run([sys.executable, "-c", LOST.format(name=name, start=start)], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "stopped" in done.stderr and not done.stdout

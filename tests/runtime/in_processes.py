"""Run by test_processes.py in each of several processes: a loop of collectives that ends when asked to stop.

python in_processes.py FAULT COORDINATOR PROCESSES PROCESS
"""

import functools
import os
import signal
import sys
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from mdiff_jax.runtime import processes
from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.preemption import PreemptionHandler


def refuse() -> None:
    raise InputError("this cannot be: give something else")


def crash() -> None:
    raise MemoryError("the machine is gone")


FAULTS = {"none": lambda: None, "input": refuse, "crash": crash}
for name in ("TERM", "INT", "KILL"):
    FAULTS[name] = functools.partial(os.kill, os.getpid(), getattr(signal, f"SIG{name}"))


def main() -> None:
    fault, address, count, process = sys.argv[1:]
    with processes.connect(address, int(count), int(process)), PreemptionHandler(grace_seconds=30.0) as preemption:
        for step in range(10_000):
            multihost_utils.process_allgather(np.array(step))
            if step == 5:
                FAULTS[fault]()
            if stop := preemption.stop_signal():
                steps = multihost_utils.process_allgather(np.array(step))
                sys.stdout.write(f"{steps.tolist()}\n")
                time.sleep(3 * (jax.process_index() == 0))  # it saves
                raise Stopped(stop)
            time.sleep(0.01)


if __name__ == "__main__":
    main()

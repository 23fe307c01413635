"""Several processes as one run: a signal to one stops all at the same step, an error in one ends all with its cause.

They talk through the key-value store of JAX's coordination service, whose heartbeats notice a process that is gone.
JAX's own preemption sync works in the same way but is off: it knows SIGTERM alone, and hides it from `preemption`.
"""

import contextlib
import ctypes
import json
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed
from jax._src.lib import utils

from mdiff_jax.runtime.errors import InputError, Stopped, one_line

HEARTBEAT_SECONDS = 20  # without a sign of life of a process, after which the others end
POLL_SECONDS = 0.5
CLEAN_UP_SECONDS = 2.0  # for a process to end by itself once another has failed
LOST_WORDS = ("Gloo", "NCCL", "UNAVAILABLE", "ABORTED")  # of errors of collectives that another process has left
NO_LOGS = 4  # a level of the C++ log above fatal
KEPT_ALIVE: list[Any] = []  # handlers of signals that C++ calls
LOST = (
    "another process of this run has ended without a word (killed, or its machine is gone), or XLA has aborted: "
    "see what the others say; the same command in all processes resumes"
)


class Peers:
    """The processes of this run, watched by a thread: it learns what the others say, and answers for this one."""

    def __init__(self) -> None:
        state = distributed.global_state
        self._client, self.process, self.count = state.client, state.process_id, state.num_processes
        self._requested: int | None = None  # the signal this process received
        self._points, self._stop_at = 0, math.inf
        self._signum: int | None = None
        self._frozen = threading.Lock()  # held while the processes agree where to stop
        self._ending = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def request_stop(self, signum: int) -> None:
        """Asks all processes to stop; for signal handlers: the thread does the rest."""
        self._requested = signum

    def stop_signal(self) -> int | None:
        """Returns the signal to stop for at this point, or None. All processes get the same answer at their n-th call:
        when one is asked to stop they compare their calls, and stop at the one after the latest.
        """
        with self._frozen:
            self._points += 1
            return self._signum if self._points >= self._stop_at else None

    def finish(self) -> None:
        """Returns once all processes have called it."""
        self._say("done", "")
        while len(self._heard("done")) < self.count:
            time.sleep(POLL_SECONDS / 5)
        self._ending.set()

    def fail(self, error: BaseException) -> NoReturn:
        """Prints `error`, tells the others, and ends this process."""
        if any(word in str(error) for word in LOST_WORDS):
            time.sleep(HEARTBEAT_SECONDS + 5)  # if another process is the cause, this one is ended with that cause
        agreed = isinstance(error, Stopped) and self._points >= self._stop_at
        if agreed:
            self.finish()  # the first process may still be saving
        self._ending.set()
        status, line = describe_end(error)
        if status == 1:
            traceback.print_exception(error, file=sys.stderr)
        if not agreed:
            self._say("failed", json.dumps([status, line]))
        self._leave(status, line)

    def _watch(self) -> None:
        while not self._ending.wait(POLL_SECONDS):
            if self._requested is not None:
                self._say("signal", str(self._requested))
            for process, text in self._heard("failed").items():
                status, line = json.loads(text)
                if not self._ending.wait(CLEAN_UP_SECONDS):
                    self._leave(status, f"error: process {process} has ended: {line.removeprefix('error: ')}")
            if self._stop_at == math.inf and (asked := self._heard("signal")):
                self._agree(min(map(int, asked.values())))

    def _agree(self, signum: int) -> None:
        """Stops counting, compares the counts of all processes, and counts on to the same end."""
        if not self._frozen.locked():
            self._frozen.acquire()
            self._say("points", str(self._points))
        points = self._heard("points")
        if len(points) == self.count:
            self._signum, self._stop_at = signum, max(map(int, points.values())) + 1
            self._frozen.release()

    def _say(self, topic: str, text: str) -> None:
        self._client.key_value_set(f"mdiff_jax/{topic}/{self.process}", text, allow_overwrite=True)

    def _heard(self, topic: str) -> dict[int, str]:
        """Returns process → what it said."""
        return {int(key.rsplit("/")[-1]): text for key, text in self._client.key_value_dir_get(f"mdiff_jax/{topic}/")}

    def _leave(self, status: int, line: str) -> NoReturn:
        """Ends the process; the first one, which holds the store, after the others."""
        sys.stderr.write(f"{line}\n")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        self._say("left", "")
        if self.process == 0:
            end = time.monotonic() + HEARTBEAT_SECONDS
            while len(self._heard("left")) < self.count and time.monotonic() < end:
                time.sleep(POLL_SECONDS / 5)
            time.sleep(POLL_SECONDS)
        os._exit(status)


_peers: list[Peers] = []  # of this process: one, or none where it is alone


def current() -> Peers | None:
    """Returns the processes of this run, or None where there is only this one."""
    return _peers[0] if _peers else None


@contextlib.contextmanager
def connect(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> Iterator[None]:
    """Connects the processes of a run on several hosts: without arguments on a TPU pod, by these three elsewhere.

    All leave it together: at the end, or when one of them fails, which is then told by all.
    """
    given = (coordinator_address, num_processes, process_id)
    if None in given and given != (None, None, None):
        raise InputError("give all three of --coordinator_address, --num_processes and --process_id, or none")
    if None in given and "," not in os.environ.get("TPU_WORKER_HOSTNAMES", ""):
        yield
        return
    if coordinator_address is not None and not re.fullmatch(r".+:\d+", coordinator_address):
        raise InputError(f"--coordinator_address is {coordinator_address!r}: give HOST:PORT")
    if process_id is not None and process_id >= num_processes:
        raise InputError(f"--process_id is {process_id}: give 0 to {num_processes - 1}, below --num_processes")
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(*given, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the processes could not be connected at {coordinator_address}: {one_line(error)}") from None
    explain_abort(f"error: process {process_id}: {LOST}" if process_id is not None else f"error: {LOST}")
    _peers[:] = [Peers()]
    try:
        yield
        current().finish()
    except BaseException as error:
        current().fail(error)
    finally:
        _peers.clear()


def describe_end(error: BaseException) -> tuple[int, str]:
    """(exit status, line) for the error that ends a process."""
    if isinstance(error, InputError):
        return 2, f"error: {error}"
    if isinstance(error, Stopped):
        return 128 + error.signum, "stopped; the same command resumes here"
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT, "stopped"
    return 1, f"error: {type(error).__name__}: {one_line(error)}"


def explain_abort(line: str) -> None:
    """Has `line` printed, and the process ended with status 1, where C++ aborts, as JAX does when it has lost a process
    or the coordinator; without it there is a page of stack trace.
    """

    def end(_: int) -> None:
        os.write(2, f"{line}\n".encode())
        os._exit(1)

    utils.absl_set_min_log_level(NO_LOGS)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(end)  # Python's own handlers run too late
    KEPT_ALIVE.append(handler)
    install = ctypes.CDLL(None).signal
    install.argtypes, install.restype = [ctypes.c_int, type(handler)], ctypes.c_void_p
    install(signal.SIGABRT, handler)

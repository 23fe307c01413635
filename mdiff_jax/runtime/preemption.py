"""SIGINT and SIGTERM ask training to save and end; SIGTERM ends it within a time limit, even while XLA compiles."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

from mdiff_jax.runtime import processes
from mdiff_jax.runtime.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PreemptionHandler:
    """Receives SIGINT and SIGTERM during training; entered in the main thread.

    While `deferred` is true the first signal is only recorded, until the loop asks `stop_signal` between two steps. At
    any other time, and on a second signal, Stopped is raised. Where several processes train, the first signal always
    waits for `stop_signal`, so that all stop at the same step. Python handles no signal while XLA compiles, so a thread
    ends the process `grace_seconds` after SIGTERM: a save that takes longer is lost, the last one stays.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.signum: int | None = None
        self._grace_seconds, self._peers = grace_seconds, processes.current()
        self.deferred = False
        self._ended = threading.Event()

    def __enter__(self) -> "PreemptionHandler":
        self._active = threading.current_thread() is threading.main_thread()
        if self._active:
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            threading.Thread(target=self._enforce_time_limit, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._active:
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._write)
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Inside, the first signal waits until the loop asks `stop_signal`."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False

    def stop_signal(self) -> int | None:
        """Returns the signal to stop for now, or None. All processes call it the same number of times."""
        return self._peers.stop_signal() if self._peers else self.signum

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        again, self.signum = self.signum is not None, signum
        if again or not (self.deferred or self._peers):
            raise Stopped(signum)
        if self._peers:
            self._peers.request_stop(signum)

    def _enforce_time_limit(self) -> None:
        """Reads the signals from the wake-up pipe; ends the process when SIGTERM was not obeyed in time."""
        while byte := os.read(self._read, 1):
            if byte[0] == signal.SIGTERM and not self._ended.wait(self._grace_seconds):
                os._exit(128 + signal.SIGTERM)
        os.close(self._read)

"""What a process is doing, on standard error: bars whose clock goes on, and a line for whatever takes long."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

TICK_SECONDS, LOG_TICK_SECONDS = 1.0, 2.5  # of silence, in a terminal and in a log, until something is said


class Bar(tqdm):
    """A progress bar on standard error that is shown anew while nothing advances, so that its clock goes on.

    With `delay` [s] it does not appear for what is finished by then.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._ended = threading.Event()
        super().__init__(*args, **{"file": sys.stderr, "mininterval": tick_seconds()} | options)
        if not self.disable:
            threading.Thread(target=self._tick, daemon=True).start()

    def close(self) -> None:
        """Ends the bar, and clears it unless it is to stay."""
        self._ended.set()
        super().close()

    def _tick(self) -> None:
        while not self._ended.wait(self.mininterval):
            if self._time() - self.last_print_t >= self.mininterval:
                self.delay = 0  # it is there from now on
                self.refresh()


def tick_seconds() -> float:
    """Returns the seconds after which silence is broken."""
    return TICK_SECONDS if sys.stderr.isatty() else LOG_TICK_SECONDS


@contextlib.contextmanager
def doing(what: str, in_logs: bool = True) -> Iterator[None]:
    """Says what is being done, and for how long, once it has taken as long as `tick_seconds`; without `in_logs` only in
    a terminal.
    """
    options = {"bar_format": "{desc} … {elapsed}", "leave": False, "delay": tick_seconds()}
    with Bar(desc=what, disable=not (in_logs or sys.stderr.isatty()), **options):
        yield

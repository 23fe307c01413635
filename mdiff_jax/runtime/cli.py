"""Start and end of scripts: one line and exit status 2 for errors of the user, a traceback for errors of ours."""

import argparse
import atexit
import gc
import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from mdiff_jax.runtime.config_files import INSTALLED
from mdiff_jax.runtime.errors import InputError, Stopped

HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")  # ask for the help of a command
GARBAGE_THRESHOLDS = (50_000, 20, 100)  # Python's own cost a sixth of tracing, which makes many objects that stay
SCRIPT = re.compile(
    r"""(?:\bpython )?(?<![\w/.='"-])(train|sample|enroll|evaluate|augment|inspect|export)(?:_data)?\.py\b"""
)


def name_commands(text: str) -> str:
    """Returns a text that names scripts of the repository, where there are none, with the commands in their place."""
    return SCRIPT.sub(r"mdiff \1", text) if INSTALLED else text


def guard(start: Callable[[], object]) -> NoReturn:
    """Calls `start` and ends the process: what a user can mend and signals become one line and an exit status."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    atexit.register(gc.freeze)  # the end looks through everything once more: a second with JAX imported
    sys.stdout, sys.stderr = open_output(1), open_output(2)
    sys.unraisablehook = repeat_lost_signal
    try:
        start()
    except InputError as error:
        fail(str(error))
    except Stopped as stopped:
        print("\nstopped; the same command resumes here", file=sys.stderr)
        exit_immediately(128 + stopped.signum)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        exit_immediately(130)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail("there is too little memory: give a smaller batch size")
    except OSError as error:  # a file or folder that cannot be read, written or made, a full disk
        if error.filename is None:
            raise
        fail(f"{os.fsdecode(error.filename)}: {error.strerror}")
    sys.stdout.flush()
    lost = sys.stdout.buffer.raw.lost  # type: ignore[attr-defined]  # an OutputFile
    if isinstance(lost, OSError) and not isinstance(lost, BrokenPipeError):
        print(f"error: standard output: {lost.strerror}; all files are written", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


class OutputFile(io.FileIO):
    """A standard stream of the process. When its reader is gone or its disk full, what follows is dropped: work goes
    on, since nothing but messages is written there.
    """

    lost: OSError | None = None  # the first error

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.lost = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def open_output(number: int) -> io.TextIOWrapper:
    """Returns standard output (1) or error (2) as a stream that never fails; one that is closed leads to nothing."""
    for below in range(number + 1):  # or the next file that is opened takes its place
        try:
            os.fstat(below)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout if number == 1 else sys.stderr
    if before is not None:
        before.flush()
    raw = OutputFile(number, "w", closefd=False)
    lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=lines)


def repeat_lost_signal(lost: Any) -> None:
    """Sends a signal again whose exception was raised in a callback, as JAX has one at garbage collection, and ignored
    there; reports other ignored exceptions as usual. `lost` is what `sys.unraisablehook` takes.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signum = getattr(lost.exc_value, "signum", signal.SIGINT)
    handler: Any = signal.getsignal(signum)
    heard = threading.Event()

    def send() -> None:
        while not heard.wait(0.1):  # a call that is about to block does not notice a signal, so one may be too few
            os.kill(os.getpid(), signum)

    def receive(number: int, frame: FrameType | None) -> None:
        here = any(outer.f_code is repeat_lost_signal.__code__ for outer, _ in traceback.walk_stack(frame))
        if here or heard.is_set():
            return  # from here, too, no exception gets out
        heard.set()
        sender.join()
        signal.signal(number, handler)
        handler(number, frame)

    sender = threading.Thread(target=send, daemon=True)
    signal.signal(signum, receive)
    sender.start()


def exit_immediately(status: int) -> NoReturn:
    """Ends the process without cleaning up the interpreter, which takes long and can crash while threads compile.

    Everything has to be saved and closed before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def fail(line: str) -> NoReturn:
    """Prints the error and ends the process with status 2."""
    print(f"error: {name_commands(' '.join(line.split()))}", file=sys.stderr)
    sys.exit(2)


# ----------------------------------------------------------------------------- arguments


class ArgumentParser(argparse.ArgumentParser):
    """One whose errors are InputErrors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def given_path(text: str) -> Path:
    """Returns the path that an argument gives; the type of an argument of `ArgumentParser`."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give a path")
    return Path(text)

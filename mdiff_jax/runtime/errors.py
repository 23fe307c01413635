"""The exceptions that end a command in a known way."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
READ_ONLY = {errno.EROFS: "Read-only file system"}


class InputError(ValueError):
    """An error of the user. The message is one line: what is wrong, where (file, key or value), and the remedy.

    Scripts print it without a traceback and exit with status 2.
    """


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks, 200 characters at most."""
    return " ".join(str(error).split())[:200]


class Stopped(KeyboardInterrupt):
    """A signal asked to end, and what there was is saved. Scripts exit with status 128 + `signum`."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by signal {signum}; the same call resumes")
        self.signum = signum


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turns the errors of a disk that takes no more, below `folder`, into an InputError with the remedy.

    Libraries report them as errors of any kind, but in the words of the system.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        place = getattr(error, "filename", None) or folder
        for reasons, remedy in ((FULL, "free some space"), (READ_ONLY, "make it writable")):
            for number, reason in reasons.items():
                if getattr(error, "errno", None) == number or reason in str(error):
                    raise InputError(
                        f"cannot write to {place} ({reason}): {remedy}, then repeat the command"
                    ) from error
        raise

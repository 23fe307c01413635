"""The exceptions that end a command in a known way."""


class InputError(ValueError):
    """An error of the user. The message is one line: what is wrong, where (file, key or value), and the remedy.

    Scripts print it without a traceback and exit with status 2.
    """


def one_line(error: Exception) -> str:
    """The message of an exception without line breaks, 200 characters at most."""
    return " ".join(str(error).split())[:200]


class Stopped(Exception):  # noqa: N818, not an error
    """A signal asked the process to end. Scripts exit with status 128 + `signum`."""

    def __init__(self, signum: int):
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum

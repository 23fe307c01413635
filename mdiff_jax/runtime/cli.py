"""Start and end of scripts: one line and exit status 2 for errors of the user, a traceback for errors of ours."""

import difflib
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags, logging

from mdiff_jax.runtime.errors import InputError, Stopped


def run(main: Callable[[], None]) -> None:
    """Parses the flags, runs `main`, and turns InputError, wrong flags and signals into one line and an exit status."""

    def guarded(arguments: list[str]) -> None:
        logging.set_verbosity(logging.FATAL)  # of libraries; what matters is raised
        if len(arguments) > 1:
            fail(f"'{arguments[1]}' is not a flag: flags are written --name=value")
        try:
            main()
        except InputError as error:
            fail(str(error))
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            exit_immediately(130)
        except Stopped as stopped:
            print("\nstopped; the same command resumes here", file=sys.stderr)
            exit_immediately(128 + stopped.signum)

    sys.unraisablehook = repeat_lost_signal
    app.run(guarded, flags_parser=parse_flags)


def repeat_lost_signal(lost: Any) -> None:
    """Sends a signal again whose exception was raised in a callback, as JAX has one at garbage collection, and ignored
    there; reports other ignored exceptions as usual. `lost` is what `sys.unraisablehook` takes.
    """
    if not issubclass(lost.exc_type, (KeyboardInterrupt, Stopped)):
        sys.__unraisablehook__(lost)
        return
    signum = getattr(lost.exc_value, "signum", signal.SIGINT)
    threading.Timer(0.1, os.kill, (os.getpid(), signum)).start()


def exit_immediately(status: int) -> NoReturn:
    """Ends the process without cleaning up the interpreter, which takes long and can crash while threads compile.

    Everything has to be saved and closed before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags; returns the other arguments. Ends the process with one line if a flag is wrong."""
    try:
        return flags.FLAGS(argv)
    except AttributeError as error:  # ml_collections: a key the configuration does not have
        fail(explain_unknown_key(argv) or " ".join(str(error).split()))
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        near = difflib.get_close_matches(name.split(".")[0], list(flags.FLAGS), 1)
        fail(f"unknown flag --{name}" + (f": did you mean --{near[0]}?" if near else ""))
    except (flags.Error, OSError, ValueError) as error:
        fail(str(error).strip().splitlines()[0])


def explain_unknown_key(argv: list[str]) -> str | None:
    """Returns the message for the first --config.KEY that is not in the configuration, with the nearest key that is."""
    options = dict(a.removeprefix("--").split("=", 1) for a in argv[1:] if a.startswith("--config") and "=" in a)
    known = dotted_keys(runpy.run_path(options["config"].split(":")[0])["get_config"]().to_dict())
    for name in options:
        key = name.removeprefix("config.")
        if name != "config" and key not in known:
            near = difflib.get_close_matches(key, known, 1, cutoff=0.0)
            return f"unknown configuration key '{key}': did you mean '{near[0]}'?"
    return None


def dotted_keys(values: dict) -> list[str]:
    """Returns all dotted keys of a nested dict, those of inner dicts too."""
    keys = []
    for key, value in values.items():
        below = dotted_keys(value) if isinstance(value, dict) else []
        keys += [key, *(f"{key}.{name}" for name in below)]
    return keys


def fail(line: str) -> NoReturn:
    """Prints the error and ends the process with status 2."""
    print(f"error: {line}", file=sys.stderr)
    sys.exit(2)

"""Start and end of scripts: one line and exit status 2 for errors of the user, a traceback for errors of ours."""

import argparse
import difflib
import io
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import flags, logging

from mdiff_jax.runtime.errors import InputError, Stopped
from mdiff_jax.runtime.ranges import Range

HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")


def run(main: Callable[[], None], list_keys: Callable[[], str] | None = None) -> None:
    """Parses the flags of a script and runs `main`; see `guard`. With --help it prints the flags and exits with 0.

    `list_keys` returns the keys of the configuration, which --help prints too if there is a --config.
    """

    def start() -> None:
        argv = find_config_file(sys.argv)
        wants_help = any(argument in HELP for argument in argv)
        logging.set_verbosity(logging.FATAL)  # of libraries; what matters is raised
        parse_flags([argument for argument in argv if argument not in HELP])
        logging.set_verbosity(logging.FATAL)
        if not wants_help:
            return main()
        print(f"{sys.modules['__main__'].__doc__}\n{flags.FLAGS.main_module_help()}")
        if list_keys is not None and config_option(argv)[1]:
            print(f"\n{list_keys()}")

    guard(start)


def guard(start: Callable[[], object]) -> NoReturn:
    """Calls `start` and ends the process: what a user can mend and signals become one line and an exit status."""
    sys.stdout, sys.stderr = open_output(1), open_output(2)
    sys.unraisablehook = repeat_lost_signal
    try:
        start()
    except InputError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        exit_immediately(130)
    except Stopped as stopped:
        print("\nstopped; the same command resumes here", file=sys.stderr)
        exit_immediately(128 + stopped.signum)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail("there is too little memory: give a smaller batch size")
    except OSError as error:  # a file or folder that cannot be read, written or made, a full disk
        if error.filename is None:
            raise
        fail(f"{os.fsdecode(error.filename)}: {error.strerror}")
    sys.stdout.flush()
    if isinstance(lost := sys.stdout.buffer.raw.lost, OSError) and not isinstance(lost, BrokenPipeError):
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


def fail(line: str) -> NoReturn:
    """Prints the error and ends the process with status 2."""
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(2)


# ----------------------------------------------------------------------------- flags


class ArgumentParser(argparse.ArgumentParser):
    """One whose errors are InputErrors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def given_path(text: str) -> Path:
    """Returns the path that an argument gives; the type of an argument of `ArgumentParser`."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give a path")
    return Path(text)


def limit(allowed: Range, *holders: flags.FlagHolder) -> None:
    """Lets flags that are given have values in a range only, which their help then tells."""
    for holder in holders:
        add_check(holder, allowed.check)
        flags.FLAGS[holder.name].help += f" Give {allowed.describe()}."


def require_paths(*holders: flags.FlagHolder, folders: bool = False) -> None:
    """Refuses paths that are given but empty, which would mean the present folder; with `folders` also files."""

    def check(name: str, value: str) -> None:
        if not value.strip():
            raise InputError(f"{name} is empty: give a path")
        if folders and Path(value).exists() and not Path(value).is_dir():
            raise InputError(f"{name}={value} is not a folder: give another path")

    for holder in holders:
        add_check(holder, check)


def require_together(*pairs: tuple[flags.FlagHolder, flags.FlagHolder]) -> None:
    """Raises InputError for a flag that is given without the one it belongs to, and would be ignored."""
    for holder, needed in pairs:
        if holder.present and needed.value in (None, []):
            raise InputError(f"--{holder.name} belongs to --{needed.name}: give both, or none of them")


def parse_numbers(holder: flags.FlagHolder, allowed: Range) -> list:
    """Returns the numbers of a flag with a list of texts; InputError unless they are in a range."""

    def parse(text: str) -> Any:
        try:
            return allowed.kind(text)
        except ValueError:
            return text  # which the range refuses

    values = [parse(text) for text in holder.value]
    allowed.check(f"--{holder.name}", values)
    return values


def add_check(holder: flags.FlagHolder, check: Callable[[str, Any], None]) -> None:
    """Calls `check(name, value)` on the value of a flag when flags are parsed, unless it is None."""

    def passes(value: Any) -> bool:
        if value is not None:
            check(f"--{holder.name}", value)
        return True

    flags.register_validator(holder.name, passes)


def parse_flags(argv: list[str]) -> None:
    """Parses the flags. InputError if a flag or the configuration file is wrong, or something is no flag."""
    try:
        rest = flags.FLAGS(argv)
    except InputError:
        raise
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname.split(".")[0], list(flags.FLAGS), 1)
        hint = f": did you mean --{near[0]}?" if near else ": --help lists the flags"
        raise InputError(f"unknown flag --{error.flagname}{hint}") from None
    except (Exception, SystemExit) as error:  # a configuration file may do anything
        raise InputError(explain_configuration(argv, str(error).strip().partition("\n")[0])) from None
    if config_option(argv)[1] is not None and is_broken(flags.FLAGS["config"].value):
        raise InputError(explain_configuration(argv, "--config cannot be read"))
    if len(rest) > 1:
        raise InputError(f"'{rest[1]}' is not a flag: flags are written --name=value")


# ----------------------------------------------------------------------------- configuration files


def config_option(argv: list[str]) -> tuple[range, str | None]:
    """Returns the positions of the last --config, which counts, and its value, after = or a space; None if absent."""
    for i in reversed(range(len(argv))):
        name, equals, value = argv[i].partition("=")
        if name in ("--config", "-config"):
            return (range(i, i + 1), value) if equals else (range(i, i + 2), "".join(argv[i + 1 : i + 2]))
    return range(0), None


def find_config_file(argv: list[str]) -> list[str]:
    """Returns the arguments with the file of --config, where it is not there, replaced by one beside the script.

    InputError if there is none either.
    """
    place, option = config_option(argv)
    if option is None or "config" not in flags.FLAGS or Path(option.partition(":")[0]).is_file():
        return argv
    name, folder = option.partition(":")[0], Path(argv[0]).absolute().parent
    if not (folder / name).is_file():
        known = " ".join(sorted(f"configs/{path.name}" for path in (folder / "configs").glob("*.py")))
        raise InputError(f"--config={option} is no file: give one of your own, or of {known}")
    return [*argv[: place.start], f"--config={folder / option}", *argv[place.stop :]]


def is_broken(config: object) -> bool:
    """Returns whether the value of a configuration flag is no ConfigDict, but another one or a stored error."""
    return not hasattr(type(config), "to_dict")


def explain_configuration(argv: list[str], otherwise: str) -> str:
    """Returns what is wrong with the file of --config, or the first --config.KEY that it does not have, with the
    nearest key that it has. Runs the file once more, by itself.
    """
    _, option = config_option(argv)
    if option is None:
        return otherwise
    path, _, argument = option.partition(":")
    try:
        make = runpy.run_path(path).get("get_config")
        if not callable(make):
            return f"--config={option} has no function get_config(): define one that returns a ConfigDict"
        config = make(*([argument] if argument else []))
    except (Exception, SystemExit) as error:
        return f"--config={option}: {describe_error(error, path)}"
    if is_broken(config):
        return f"--config={option}: get_config() returns a {type(config).__name__}, let it return a ConfigDict"
    known = dotted_keys(config.to_dict())
    names = [a.lstrip("-").partition("=")[0] for a in argv[1:] if a.lstrip("-").startswith("config.")]
    for key in (name.removeprefix("config.") for name in names):
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, cutoff=0.0)
            return f"unknown configuration key '{key}'" + (f": did you mean '{near[0]}'?" if near else "")
    return otherwise


def describe_error(error: BaseException, path: str) -> str:
    """Returns the kind and text of an error, and the line of the file where it arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" + (f" (line {line})" if line else "")


def dotted_keys(values: dict) -> list[str]:
    """Returns all dotted keys of a nested dict, those of inner dicts too."""
    keys = []
    for key, value in values.items():
        below = dotted_keys(value) if isinstance(value, dict) else []
        keys += [key, *(f"{key}.{name}" for name in below)]
    return keys

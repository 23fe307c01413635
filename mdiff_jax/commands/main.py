"""The command `mdiff NAME --flag=value …`, and what the scripts of the repository run."""

import difflib
import importlib
import sys
from types import ModuleType
from typing import NoReturn

from mdiff_jax.runtime import cli, huge_pages
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.version import VERSION

COMMANDS = ("train", "sample", "enroll", "evaluate", "augment", "inspect", "export", "doctor")
HELP = """mdiff COMMAND [--flag=value …]

{commands}

mdiff COMMAND --help lists the flags of a command, mdiff --version says which version this is."""


def main() -> NoReturn:
    """Runs `mdiff`."""
    name, *others = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        ask_for_huge_pages(others)
    cli.guard(lambda: dispatch(sys.argv[1:]))


def run(name: str) -> NoReturn:
    """Runs a command as a script of its own."""
    ask_for_huge_pages(sys.argv[1:])
    cli.guard(lambda: start(load(name), sys.argv[1:]))


def ask_for_huge_pages(arguments: list[str]) -> None:
    """Asks for huge pages, which begins the process anew, unless a command is only asked for its help."""
    if not set(arguments) & set(cli.HELP):
        huge_pages.ask()


def dispatch(arguments: list[str]) -> None:
    """Runs the command that the first argument names. InputError if there is none."""
    name = arguments[0] if arguments else "--help"
    if name in ("--version", "version"):
        print(VERSION)
    elif name in (*cli.HELP, "help"):
        print(
            HELP.format(commands="\n".join(f"  {name:10}{cli.name_commands(summary(load(name)))}" for name in COMMANDS))
        )
    elif name in COMMANDS:
        start(load(name), arguments[1:])
    else:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(COMMANDS)}"
        raise InputError(f"'{name}' is no command of mdiff: {hint}")


def start(command: ModuleType, arguments: list[str]) -> None:
    """Parses the FLAGS of a command and runs its main(); with --help prints its help."""
    command.FLAGS.parse([argument for argument in arguments if argument not in cli.HELP])
    if any(argument in cli.HELP for argument in arguments):
        print(cli.name_commands(f"{command.__doc__ or ''}{command.FLAGS.help()}"))
    else:
        command.main()


def load(name: str) -> ModuleType:
    """Returns the module of a command."""
    return importlib.import_module(f"mdiff_jax.commands.{name}")


def summary(command: ModuleType) -> str:
    """Returns the first sentence about a command."""
    return (command.__doc__ or "").partition("\n")[0].rstrip(".")

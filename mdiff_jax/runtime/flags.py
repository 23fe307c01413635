"""Flags of commands: defined in groups, which --help keeps together, and parsed with one line for what is wrong."""

import difflib
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from mdiff_jax.runtime import config_files
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import Range, flatten

WIDTH, INDENT = 118, 32  # of the help; of what a flag is about
Holder = flags.FlagHolder


class Flags:
    """The flags of one command. Those that are defined after `group` belong to it."""

    def __init__(self) -> None:
        self.values = flags.FlagValues()
        self.groups: dict[str, list[str]] = {}  # title → what --help says of each flag
        self.config: Any = None  # ConfigDict of --config, once parsed
        self.takes_config = False

    def group(self, title: str) -> None:
        """Begins a group of flags."""
        self.groups[title] = []

    # --------------------------------------------------------------------- kinds

    def text(self, name: str, default: str | None, about: str) -> Holder:
        """Defines a flag of any text."""
        return self._add(name, "TEXT", flags.DEFINE_string(name, default, about, self.values))

    def path(self, name: str, about: str) -> Holder:
        """Defines a flag of a path, which may not be empty: that would mean the present folder."""
        holder = self._add(name, "PATH", flags.DEFINE_string(name, None, about, self.values))
        return self._check(holder, refuse_empty)

    def folder(self, name: str, about: str) -> Holder:
        """Defines a flag of a folder that is there or is made: no file."""
        return self._check(self.path(name, about), refuse_files)

    def integer(self, name: str, default: int | None, about: str, allowed: Range) -> Holder:
        """Defines a flag of a whole number."""
        about = f"{about} Give {allowed.describe()}."
        holder = self._add(name, "N", flags.DEFINE_integer(name, default, about, flag_values=self.values))
        return self._check(holder, allowed.check)

    def number(self, name: str, default: float | None, about: str, allowed: Range) -> Holder:
        """Defines a flag of a number."""
        about = f"{about} Give {allowed.describe()}."
        holder = self._add(name, "X", flags.DEFINE_float(name, default, about, flag_values=self.values))
        return self._check(holder, allowed.check)

    def switch(self, name: str, default: bool, about: str) -> Holder:
        """Defines a flag --NAME, --noNAME."""
        return self._add(name, "", flags.DEFINE_bool(name, default, about, self.values))

    def choice(self, name: str, default: str | None, choices: Iterable[str], about: str) -> Holder:
        """Defines a flag with one of some values."""
        choices = list(choices)
        return self._add(name, "|".join(choices), flags.DEFINE_enum(name, default, choices, about, self.values))

    def texts(self, name: str, default: list[str] | None, about: str) -> Holder:
        """Defines a flag of texts that commas separate."""
        return self._add(name, "A,B,…", flags.DEFINE_list(name, default, about, self.values))

    def config_file(self, about: str) -> None:
        """Defines --config, a name or file, and --config.KEY of all its keys; see `config`."""
        self.takes_config = True
        self._add("config", "NAME|FILE", flags.DEFINE_string("config", None, about, self.values))

    def _add(self, name: str, shown: str, holder: Holder) -> Holder:
        flag = self.values[name]
        about = flag.help.removeprefix(f"<{shown}>: ")  # that stands beside it
        if flag.default not in (None, [], "", False):
            about += f" Default: {(flag.default_as_str or '').strip(chr(39))}."
        self.groups[next(reversed(self.groups))].append(
            entry(f"--[no]{name}" if flag.boolean else f"--{name}={shown}", about)
        )
        return holder

    def _check(self, holder: Holder, check: Callable[[str, Any], None]) -> Holder:
        """Calls `check(--name, value)` on the value when flags are parsed, unless it is None."""

        def passes(value: Any) -> bool:
            if value is not None:
                check(f"--{holder.name}", value)
            return True

        flags.register_validator(holder.name, passes, flag_values=self.values)
        return holder

    # --------------------------------------------------------------------- parsing

    def parse(self, arguments: list[str]) -> None:
        """Takes the values of all flags. InputError if one is wrong, or the configuration, or something is no flag."""
        logging.set_verbosity(logging.FATAL)  # of libraries; what matters is raised
        options, arguments = take_config_option(arguments) if self.takes_config else ([], arguments)
        argv = ["command", *arguments]
        if options:
            self.config = config_files.load_config(options[-1])
        try:
            if options:
                delattr(self.values, "config")  # of which only the help was needed
                parsed = config_flags.DEFINE_config_dict("config", self.config, "", self.values, sys_argv=argv)
            rest = self.values(argv)
            if options:
                self.config = parsed.value
        except InputError:
            raise
        except flags.UnrecognizedFlagError as error:
            near = difflib.get_close_matches(error.flagname.split(".")[0], list(self.values), 1)
            hint = f": did you mean --{near[0]}?" if near else ": --help lists the flags"
            raise InputError(f"unknown flag --{error.flagname}{hint}") from None
        except Exception as error:  # of types that libraries do not tell
            unknown = self._unknown_key(arguments)
            raise InputError(unknown or str(error).strip().partition("\n")[0]) from None
        if len(rest) > 1:
            raise InputError(f"'{rest[1]}' is not a flag: flags are written --name=value")
        logging.set_verbosity(logging.FATAL)

    def _unknown_key(self, arguments: list[str]) -> str | None:
        """Returns what is wrong with the first --config.KEY that the configuration does not have."""
        if self.config is None:
            return None
        known = dotted_keys(self.config.to_dict())
        names = [a.lstrip("-").partition("=")[0] for a in arguments]
        for key in (name.removeprefix("config.") for name in names if name.startswith("config.")):
            if key not in known:
                near = difflib.get_close_matches(key, known, 1, cutoff=0.0)
                return f"unknown configuration key '{key}'" + (f": did you mean '{near[0]}'?" if near else "")
        return None

    # --------------------------------------------------------------------- help

    def help(self) -> str:
        """Returns the flags by group, each with what can be given and its default; then the configuration's keys."""
        lines = []
        for title, entries in self.groups.items():
            lines += [f"\n{title}:", *entries]
        if self.takes_config:
            lines += list_keys(config_files.load_config("default") if self.config is None else self.config)
        return "\n".join(lines)


def take_config_option(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns the values of --config, after = or a space, and the other arguments."""
    values, others, rest = [], [], iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            values.append(value if equals else next(rest, ""))
        else:
            others.append(argument)
    return values, others


def refuse_empty(name: str, value: str) -> None:
    if not value.strip():
        raise InputError(f"{name} is empty: give a path")


def refuse_files(name: str, value: str) -> None:
    if Path(value).exists() and not Path(value).is_dir():
        raise InputError(f"{name}={value} is not a folder: give another path")


def require_together(*pairs: tuple[Holder, Holder]) -> None:
    """Raises InputError for a flag that is given without the one it belongs to, and would be ignored."""
    for holder, needed in pairs:
        if holder.present and needed.value in (None, []):
            raise InputError(f"--{holder.name} belongs to --{needed.name}: give both, or none of them")


def require(remedy: str, *holders: Holder) -> None:
    """Raises InputError for a flag that is not given."""
    for holder in holders:
        if holder.value is None:
            raise InputError(f"--{holder.name} is missing: give {remedy}")


def require_workdir(holder: Holder) -> None:
    """Raises InputError unless a flag gives a working directory: at once, before JAX is imported to use it."""
    from mdiff_jax.runtime.workdir import Workdir

    Workdir(holder.value).read_config()


def parse_numbers(holder: Holder, allowed: Range) -> list:
    """Returns the numbers of a flag with a list of texts; InputError unless they are in a range."""

    def parse(text: str) -> Any:
        try:
            return allowed.kind(text)
        except ValueError:
            return text  # which the range refuses

    values = [parse(text) for text in holder.value]
    allowed.check(f"--{holder.name}", values)
    return values


def dotted_keys(values: dict) -> list[str]:
    """Returns all dotted keys of a nested dict, those of inner dicts too."""
    keys = []
    for key, value in values.items():
        below = dotted_keys(value) if isinstance(value, dict) else []
        keys += [key, *(f"{key}.{name}" for name in below)]
    return keys


def list_keys(config: Any) -> list[str]:
    """Returns a line for each key of a configuration, with its comment in configs/default.py, by section."""
    lines, section, values = [], None, flatten(config.to_dict())
    for key, comment in config_files.key_comments().items():
        first = key.split(".")[0] if "." in key else "general"
        if first != section:
            section = first
            lines.append(f"\nconfiguration, {section}:")
        lines.append(f"{f'  --config.{key}={values.get(key)}':50}  {comment}")
    return lines


def entry(flag: str, about: str) -> str:
    """Returns a flag and what it is about, beside it or below."""
    space = " " * INDENT
    text = textwrap.fill(about, WIDTH, initial_indent=space, subsequent_indent=space)
    short = f"  {flag}".ljust(INDENT)
    return short + text[INDENT:] if len(short) == INDENT and short[-1] == " " else f"  {flag}\n{text}"

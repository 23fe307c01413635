"""The rule for names of users, wherever they come from: they name folders and files, and are words of command lines."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from mdiff_jax.runtime.errors import InputError

MAX_BYTES = 100  # in UTF-8: names of files hold up to two users, and have 255 bytes at most
FORBIDDEN = "/\\,"  # separators of paths, and of lists in flags


def check_user_names(names: Iterable[Any], where: object) -> None:
    """InputError for the first of `names` that cannot be a user's, or that some file systems take for another one.

    `where` is the file, folder, key or flag that they stand in.
    """
    known: dict[str, str] = {}
    for name in names:
        if fault := find_fault(name):
            raise InputError(f"'{where}': {shorten(name)} cannot be the name of a user, since it {fault}: rename it")
        if (twin := known.get(fold_name(name))) is not None:
            if twin == name:
                raise InputError(f"'{where}' names the user {shorten(name)} twice: remove one")
            twins = f"{shorten(twin)} and {shorten(name)}"
            raise InputError(f"users {twins} in '{where}' differ in case or in how letters are composed: rename one")
        known[fold_name(name)] = name


def find_fault(name: object) -> str | None:
    """Says what is wrong with a name; None for a good one."""
    if not isinstance(name, str):
        return "is no text"
    if not name:
        return "is empty"
    if holds_control_characters(name):
        return "holds control characters"
    if any(c in FORBIDDEN for c in name):
        return "holds a slash or a comma"
    if name[0] == ".":
        return "begins with a dot"
    if name != name.strip():
        return "begins or ends with a space"
    if len(name.encode()) > MAX_BYTES:
        return f"is longer than {MAX_BYTES} bytes"
    return "means every user" if name.casefold() == "all" else None


def holds_control_characters(text: str) -> bool:
    """Whether a text has characters that control, break lines, or are none (Unicode categories C, Zl, Zp)."""
    return any(unicodedata.category(c)[0] == "C" or c in "\u2028\u2029" for c in text)


def fold_name(name: str) -> str:
    """The same text for names that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shorten(name: object) -> str:
    """A name for a message: in one line, and not long."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:57]}…"

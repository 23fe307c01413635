"""The sampling settings that sweeps chose, in WORKDIR/chosen.json: {key: {"chosen": value, "instead_of": value}}.

A choice is the default of sampling as long as config.json has the value that it was made instead of. A value that is
given to the run since, by train.py --config.KEY=VALUE, overrules it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdiff_jax.config import lists_to_tuples
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import read_json, write_json
from mdiff_jax.validation import check_value, flatten


def read_chosen(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Returns the choices that hold for the configuration `values`, a nested dict as in config.json; {} without a file.

    InputError for a file that is damaged.
    """
    if not path.exists():
        return {}
    now, remedy = flatten(values), "remove it, evaluate.py --sweep makes another"
    entries = read_json(path, remedy)
    try:
        for key, entry in entries.items():
            check_value(key, entry["chosen"])
        return {k: lists_to_tuples(entry["chosen"]) for k, entry in entries.items() if now[k] == entry["instead_of"]}
    except (ValueError, KeyError, TypeError, AttributeError):  # InputError is a ValueError
        raise InputError(f"{path} is damaged: {remedy}") from None


def write_chosen(path: Path, values: dict[str, Any], chosen: Mapping[str, Any]) -> None:
    """Writes choices for the configuration `values`."""
    now = flatten(values)
    write_json(path, {key: {"chosen": value, "instead_of": now[key]} for key, value in chosen.items()})

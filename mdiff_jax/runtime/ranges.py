"""The values that a configuration key, a flag or an argument can take, and the one check of a value against them.

What flags share with functions stands here, so that a wrong flag is refused before JAX is imported.
"""

import math
import numbers
from typing import Any, NamedTuple

from mdiff_jax.runtime.errors import InputError

NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text", tuple: "pair"}
TYPES: dict[type, Any] = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str, tuple: tuple | list}


class Range(NamedTuple):
    """Values of `kind` (int, float, bool, str, tuple), numbers from `low` to `high`; with `length`, tuples of so many.

    Numbers are always finite. A whole number is a number too; true and false are none.
    """

    kind: type
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # `low` itself is excluded
    below: bool = False  # `high` itself is excluded
    length: tuple[int, int] | None = None  # least and most

    def check(self, name: str, value: Any) -> None:
        """Raises InputError that names the key, its value and the range, unless the value lies in the range."""
        single = [value] if self.length is None else value
        known = isinstance(single, tuple | list) and (self.length is None or self.length[0] <= len(single))
        known = known and (self.length is None or len(single) <= self.length[1])
        if not (known and all(map(self.contains, single))):
            raise InputError(f"{name} is {show(value)}: give {self.describe()}")

    def contains(self, value: Any) -> bool:
        """Returns whether one value has the kind and lies between the bounds."""
        if not isinstance(value, TYPES[self.kind]) or (isinstance(value, bool) and self.kind is not bool):
            return False
        if self.kind not in (int, float):
            return True
        inside: bool = value > self.low if self.above else value >= self.low
        return inside and (value < self.high if self.below else value <= self.high) and math.isfinite(value)

    def describe(self) -> str:
        """Returns the range in words: 'a whole number from 1 to 100'."""
        bounds = ""
        if math.isfinite(self.low):
            bounds += f" {'above' if self.above else 'from'} {self.low:.15g}"
        if math.isfinite(self.high):
            bounds += f"{', below' if self.below else ', at most' if self.above else ' to'} {self.high:.15g}"
        kind = NAMES[self.kind]
        if self.length is None:
            return kind if self.kind in (bool, str) else f"a {kind}{bounds}"
        least, most = self.length
        count = f"{least}" if least == most else f"{least} to {most}"
        each = f"values, each {kind}" if self.kind in (bool, str) else f"{kind}s"
        return f"{count} {each}{bounds}"


SEED = Range(int, 0, 2**32 - 1)  # what a key of JAX distinguishes
COUNT = Range(int, 1, 10**6)
RANK = Range(int, 1, 256)  # of an update of weights
PROCESSES, PROCESS = Range(int, 1, 10**4), Range(int, 0, 10**4 - 1)  # number of processes, index of one
STRIP_WINDOWS = Range(int, 2, 100)  # of an interpolation, the two users' own among them
STRENGTHS, GAMMAS = Range(float, 0, 1, above=True), Range(float, 0, 10, above=True)  # of variations; of soft labels
SECONDS = Range(float, 0, 600, above=True)  # of a walk
WALKERS = {
    "num_users": Range(int, 1, 1000),
    "recordings_per_user": Range(int, 1, 1000),
    "windows_per_recording": Range(int, 1, 1000),
    "difficulty": Range(float, 0, 3),
    "nuisances": Range(float, 0, 3),
    "seed": SEED,
}

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "heun")
SPACINGS = ("leading", "trailing", "linspace", "logsnr")  # of sampling steps
PREDICTIONS, WEIGHTINGS = ("eps", "x0", "v"), ("plain", "min_snr", "sigmoid")  # of the decoder
ARRAY_AXES = ("auto", "frequency_time", "time_frequency")  # order of the last two axes of an array
REMAT = ("none", "blocks", "full")  # recomputed in the backward pass: nothing, each block, or each level as well


def show(value: Any) -> str:
    """Returns a value as text of 80 characters at most; Python refuses to print very long numbers."""
    try:
        return repr(value)[:80]
    except ValueError:
        return "too long a number"


# ----------------------------------------------------------------------------- dotted keys


def prefixed(name: str, keys: dict[str, Range]) -> dict[str, Range]:
    """{'b': range} → {'a.b': range} for the name 'a'."""
    return {f"{name}.{key}": value for key, value in keys.items()}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} → {'a.b': 1}. InputError for a key that has a dot itself."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if "." in key:
            raise InputError(f"'{key}' is not a key: give {key.partition('.')[0]} as an object that holds the rest")
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat

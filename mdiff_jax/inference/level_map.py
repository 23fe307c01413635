"""Level calibration: a map after which the levels of drawn windows are distributed as those of recorded ones.

Errors of a decoder's estimates add up over the steps of sampling (exposure bias: Ning et al. 2024); it draws too few
levels just above the noise floor and too many of the highest. In the distribution of single levels that is undone by
its monotone rearrangement: quantiles of drawn levels go to the same quantiles of recorded ones (histogram matching).
What is empty, on the noise floor, stays so. The map is fitted once, after training, to training windows; it knows
neither users nor places.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mdiff_jax.runtime.workdir import read_json, refuse_damage, write_json

FLOOR = -1.0  # the noise floor's level
QUANTILES = 513
REMEDY = "remove it, then run train.py"


class LevelMap(NamedTuple):
    """A piecewise linear map of levels above the noise floor; beyond its ends it is constant."""

    drawn: Float[np.ndarray, " knots"]  # rising
    recorded: Float[np.ndarray, " knots"]  # not falling

    def apply(self, spectrograms: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns the spectrograms with the levels that recorded ones have in place of theirs."""
        mapped = np.interp(spectrograms, self.drawn, self.recorded).astype(np.float32)
        return np.where(spectrograms > FLOOR, mapped, spectrograms)

    def to_json(self) -> dict[str, list[float]]:
        """Values for JSON."""
        return {name: x.tolist() for name, x in self._asdict().items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "LevelMap":
        """Inverts `to_json`; ValueError (or another) for values that no map has."""
        found = cls(*(np.array(values[name], np.float32) for name in cls._fields))
        sound = (
            found.drawn.ndim == 1
            and 0 < found.drawn.size <= QUANTILES
            and found.drawn.shape == found.recorded.shape
            and np.isfinite(found).all()
            and (np.diff(found.drawn) > 0).all()
            and (np.diff(found.recorded) >= 0).all()
            and (np.abs(found.recorded) <= 1).all()
        )
        if not sound:
            raise ValueError("its levels are no rising map to -1 … 1")
        return found


def fit_level_map(
    drawn: Float[np.ndarray, " pixels"],
    recorded: Float[np.ndarray, " others"],
    weights: Float[np.ndarray, " others"],
) -> LevelMap:
    """Fits the map to levels of drawn windows and to those of recorded ones, each with a weight.

    Where many drawn levels are the same they go to the median of their quantiles. Where nothing is above the noise
    floor, drawn or recorded, the map changes nothing.
    """
    shares = np.linspace(0, 1, QUANTILES)
    drawn, weights, recorded = drawn[drawn > FLOOR], weights[recorded > FLOOR], recorded[recorded > FLOOR]
    if not len(drawn) or not len(recorded):
        return LevelMap(*2 * [np.linspace(-1, 1, 2, dtype=np.float32)])
    values, first, count = np.unique(
        np.quantile(drawn, shares).astype(np.float32), return_index=True, return_counts=True
    )
    targets = np.quantile(recorded, shares, weights=weights, method="inverted_cdf").astype(np.float32)
    return LevelMap(values, targets[first + (count - 1) // 2])


def write_level_map(path: Path, levels: LevelMap, steps: Sequence[int]) -> None:
    """Writes the map that was fitted to checkpoints at these steps: of prior, decoder, and a student that draws."""
    write_json(path, {"steps": list(steps), **levels.to_json()})


def read_level_map(path: Path, steps: Sequence[int]) -> LevelMap | None:
    """Reads the map; None where there is none, or one of other checkpoints. InputError for a file that is damaged."""
    if not path.exists():
        return None
    values = read_json(path, REMEDY)
    with refuse_damage(path, REMEDY):
        return LevelMap.from_json(values) if [*values["steps"]] == [*steps] else None

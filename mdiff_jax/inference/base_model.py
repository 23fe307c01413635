"""The base model: trained on simulated people, shipped with the package, ready for people it has never seen.

docs/base_model.md is its card; configs/base.py trains it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from mdiff_jax.inference import people, user_adapters, user_windows
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import AnyModel, Model
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names

FOLDER = Path(__file__).parents[1] / "base"


def load_base(like: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> Model:
    """Loads the base model; `settings` go over its configuration, as in `load`.

    It knows nobody but the people of `like`: a folder of one person's windows, at least 5, or one with a folder for
    each person. Windows come out on the axes of these files, and as such files. InputError for files that cannot be
    read, and for too few of a person.
    """
    model = load(FOLDER, settings)._replace(root=None)  # no place for people of yours
    return model if like is None else know_people(model, Path(like))


def know_people(model: Model, path: Path) -> Model:
    """Returns the model for the people whose windows lie at `path`, and for recordings like theirs."""
    given = user_windows.read_user_windows(model, path, None, user_windows.free_options(model))
    rows, model = rows_of_people(model, given, path), draw_as(model, given)
    return model.with_users({name: know_person(model, given, mine) for name, mine in rows.items()})


def draw_as(model: AnyModel, given: user_windows.UserWindows) -> AnyModel:
    """Returns the model whose windows come out as files like the given ones."""
    return model._replace(dataset=dataclasses.replace(model.dataset, metadata=given.metadata))


def rows_of_people(model: Model, given: user_windows.UserWindows, path: Path) -> dict[str, Int[np.ndarray, " windows"]]:
    """Returns which of the windows at `path` are whose; InputError for too few of a person, and names that are none."""
    names, least = tuple(dict.fromkeys(given.users)), model.config.people.min_references
    check_user_names(names, path)
    rows = {name: np.flatnonzero(np.array(given.users) == name) for name in names}
    if few := next((name for name, mine in rows.items() if len(mine) < least), None):
        raise InputError(f"'{path}' holds {len(rows[few])} windows of '{few}': give {least} at least")
    return rows


def know_person(
    model: Model, given: user_windows.UserWindows, rows: Int[np.ndarray, " windows"]
) -> user_adapters.UserAdapter:
    """Returns the person of these windows, by as many of them as the networks were ever told of."""
    chosen = people.spread_evenly(rows, model.config.people.max_references)
    return people.person_adapter(model, given.windows[chosen], given.frames[chosen])

"""The base model: trained on simulated people, shipped with the package, ready for people it has never seen.

docs/base_model.md is its card; configs/base.py trains it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mdiff_jax.inference import people, user_windows
from mdiff_jax.inference.loading import load
from mdiff_jax.inference.model import Model
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names

FOLDER = Path(__file__).parents[1] / "base"


def load_base(like: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> Model:
    """Loads the base model; `settings` go over its configuration, as in `load`.

    It knows nobody but the people of `like`: a folder of one person's windows, at least 5, or one with a folder for
    each person. Windows come out on the axes of these files, and as such files. InputError for files that cannot be
    read, and for too few of a person.
    """
    model = load(FOLDER, settings)
    return model if like is None else know_people(model, Path(like))


def know_people(model: Model, path: Path) -> Model:
    """Returns the model for the people whose windows lie at `path`, and for recordings like theirs."""
    given = user_windows.read_user_windows(model, path, None, user_windows.free_options(model))
    model = model._replace(dataset=dataclasses.replace(model.dataset, metadata=given.metadata))
    names = tuple(dict.fromkeys(given.users))
    check_user_names(names, path)
    known = {}
    for name in names:
        rows = np.flatnonzero(np.array(given.users) == name)
        if len(rows) < (least := model.config.people.min_references):
            raise InputError(f"'{path}' holds {len(rows)} windows of '{name}': give {least} at least")
        chosen = people.spread_evenly(rows, model.config.people.max_references)
        known[name] = people.person_adapter(model, given.windows[chosen], given.frames[chosen])
    return model.with_users(known)

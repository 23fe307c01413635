"""A trained model without its recordings, as files to pass on: config.json, weights.safetensors, card.json.

The folder stands for a working directory wherever windows are drawn or people enrolled. Its card says what the weights
are, how they were made, and what the recordings were like: axes, colors, how their files were written.
"""

import datetime
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors import safe_open
from safetensors.numpy import save

from mdiff_jax.config import STAGES, Params, constant_shapes, parameter_shapes, spectrogram_shape, to_plain_dict
from mdiff_jax.data import builders, records, splits
from mdiff_jax.inference.level_map import LevelMap
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.weight_updates import name_leaf, name_leaves
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import Workdir, atomic_folder, read_json, refuse_damage, write_json
from mdiff_jax.validation import EARLY

CARD_TYPES = {"users": list, "metadata": dict, "fingerprint": str, "steps": list, "sha256": str}
HEADER_BYTES = 2**22  # of weights.safetensors, at most: names and shapes
REMEDY = "export the model again"


def export_model(model: Model, folder: Path, about: str = "") -> None:
    """Writes the model, its weights in float16, to a new folder: whole, or not at all. `about` goes into the card.

    Enrolled users stay behind. InputError for a folder that exists, or weights beyond float16.
    """
    if folder.exists():
        raise InputError(f"'{folder}' exists: give a new folder")
    weights, tree = {}, shipped(model)
    for name, value in name_leaves(tree).items():
        if not (np.abs(value) < np.finfo(np.float16).max).all():
            raise InputError(f"{name} has values beyond float16, or that are none: train the stage anew")
        weights[name] = np.asarray(value, np.float16)
    with atomic_folder(folder) as temporary:
        target = Workdir(temporary)
        target.weights.write_bytes(save(weights))
        write_json(target.config, to_plain_dict(model.config))
        card = {
            "about": about,
            "date": datetime.date.today().isoformat(),
            "version": VERSION,
            "users": list(model.users),
            "parameters": {name: sum(x.size for x in jax.tree.leaves(tree[name])) for name in STAGES},
            "steps": [model.prior_step, model.step],
            "fingerprint": model.dataset.fingerprint,
            "metadata": model.dataset.metadata,
            "levels": model.levels.to_json() if model.levels else None,
            "sha256": hash_file(target.weights),
        }
        write_json(target.card, card)


def without_users(model: Model) -> Model:
    """Returns the model without its users' names, rows and references: it knows people by windows it is given alone.

    InputError for a model that does not know people by references.
    """
    if not model.config.people.references:
        raise InputError("this model knows its users by rows alone and none without them: export it with users")
    config = model.config.copy_and_resolve_references()
    config.people.user_row = False
    params = dict(model.params)
    for name in (name for name in ("prior", "decoder") if "user" in params[name]):
        table = params[name]["user"]["embedding"]
        params[name] = params[name] | {"user": params[name]["user"] | {"embedding": table[-1:]}}
    constants = model.constants | {"people": model.constants["people"][:0]}
    bare = model._replace(config=config, users=(), params=params, constants=constants)
    return bare.with_users({})


def read_exported(workdir: Workdir, config: ConfigDict) -> Model:
    """The model of a folder of `export_model`, without users enrolled since. InputError for files that are damaged."""
    card = read_json(workdir.card, REMEDY)
    with refuse_damage(workdir.card, REMEDY):
        for key, kind in CARD_TYPES.items():
            if not isinstance(card.get(key), kind):
                raise ValueError(f"'{key}' is missing, or of another type")
        users, (prior_step, step) = tuple(card["users"]), map(int, card["steps"])
        records.check_metadata(card["metadata"], config.data.image_size)
        levels = LevelMap.from_json(card["levels"]) if card.get("levels") else None
    check_user_names(users, workdir.card)
    shapes: Params = {name: parameter_shapes(config, name, len(users)) for name in STAGES}
    del shapes["encoder"]["classifier"]
    shapes["constants"] = constant_shapes(config, len(users))
    if config.sample.guide == EARLY:
        shapes["weaker"] = {name: shapes[name] for name in ("prior", "decoder")}
    tree = read_weights(workdir.weights, shapes, card["sha256"])
    return Model(
        config,
        users=users,
        enrolled={},
        params={name: tree[name] for name in STAGES},
        adapters={},
        constants=tree["constants"],
        dataset=builders.empty_dataset(users, spectrogram_shape(config), card["metadata"], card["fingerprint"]),
        split={part: [] for part in splits.PARTS},
        step=step,
        prior_step=prior_step,
        weaker=tree.get("weaker", {}),
        levels=levels,
    )


def shipped(model: Model) -> Params:
    """All that networks compute with: the classifier of the encoder's training is left out."""
    params: dict[str, Any] = {name: dict(model.params[name]) for name in STAGES}
    params["encoder"].pop("classifier", None)
    return params | {"constants": model.constants} | ({"weaker": dict(model.weaker)} if model.weaker else {})


def read_weights(path: Path, shapes: Params, sha256: str) -> Params:
    """Arrays of these shapes as float32; InputError for a file that holds others, or is not as it was written."""
    expected = name_leaves(shapes)
    with refuse_damage(path, REMEDY):
        most = HEADER_BYTES + 4 * sum(int(np.prod(x.shape)) for x in expected.values())
        if (found := path.stat().st_size) > most:
            raise ValueError(f"it has {found} bytes, more than {most}")
        if hash_file(path) != sha256:
            raise ValueError("it has changed since it was written")
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            unused = {name for name in names - expected.keys() if name.startswith("weaker/")}
            if strange := (names - unused) ^ expected.keys():
                raise ValueError(f"'{min(strange)}' is missing, or not known")
            for name, x in expected.items():
                if (shape := tuple(file.get_slice(name).get_shape())) != x.shape:
                    raise ValueError(f"'{name}' is {list(shape)}, not {list(x.shape)}")
            return jax.tree_util.tree_map_with_path(
                lambda place, _: file.get_tensor(name_leaf(place)).astype(np.float32), shapes
            )


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A trained model without its recordings, as files to pass on: config.json, weights.safetensors, card.json, README.md.

The folder stands for a working directory wherever windows are drawn or people enrolled. Its card says what the weights
are, how they were made, and what the recordings were like: axes, colors, how their files were written. One file of
weights can hold the two others in its header, and is loaded like the folder.
"""

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors import safe_open
from safetensors.numpy import save

from mdiff_jax.config import (
    STAGES,
    Params,
    constant_shapes,
    from_plain_dict,
    parameter_shapes,
    spectrogram_shape,
    to_plain_dict,
)
from mdiff_jax.data import builders, records, splits
from mdiff_jax.inference import denoisers, model_card
from mdiff_jax.inference.model import Model
from mdiff_jax.inference.sample_calibration import Calibration
from mdiff_jax.inference.weight_updates import name_leaf, name_leaves
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.user_names import check_user_names
from mdiff_jax.runtime.version import VERSION
from mdiff_jax.runtime.workdir import (
    Workdir,
    atomic_folder,
    atomic_write,
    read_json,
    refuse_damage,
    write_json,
    write_text,
)
from mdiff_jax.validation import DISTILL, EARLY

CARD_TYPES = {"users": list, "metadata": dict, "fingerprint": str, "steps": list, "sha256": str}
HEADER_BYTES = 2**22  # of weights.safetensors, at most: names and shapes
REMEDY = "export the model again"
SUFFIX = ".safetensors"


def export_model(model: Model, folder: Path, about: str = "") -> None:
    """Writes the model, its weights in float16, to a new folder: whole, or not at all. `about` goes into the card.

    Enrolled users stay behind. InputError for a folder that exists, or weights beyond float16.
    """
    if folder.exists():
        raise InputError(f"'{folder}' exists: give a new folder")
    weights, card = to_float16(model), describe_model(model, about)
    with atomic_folder(folder) as temporary:
        target = Workdir(temporary)
        target.weights.write_bytes(save(weights))
        write_json(target.config, to_plain_dict(model.config))
        write_json(target.card, card | {"sha256": hash_file(target.weights)})
        write_text(temporary / "README.md", model_card.format_card(card, spectrogram_size(model), folder.name))


def export_file(model: Model, path: Path, about: str = "") -> None:
    """Writes the model as one .safetensors, with configuration and card as JSON in its header, and beside it its model
    card as .md; as `export_model` otherwise.
    """
    if path.suffix != SUFFIX:
        raise InputError(f"'{path}' does not end in {SUFFIX}: give a file that does")
    page = path.with_suffix(".md")
    for target in (path, page):
        if target.exists():
            raise InputError(f"'{target}' exists: give a new file")
    weights, card = to_float16(model), describe_model(model, about)
    card["sha256"] = hash_tensors(save(weights))
    config = to_plain_dict(model.config)
    with atomic_write(path) as temporary:
        header = {"format": "np", "config": json.dumps(config), "card": json.dumps(card)}
        temporary.write_bytes(save(weights, header))
    write_text(page, model_card.format_card(card, spectrogram_size(model), path.name))


def to_float16(model: Model) -> dict[str, np.ndarray]:
    """Returns what is shipped by name; InputError for weights beyond float16."""
    weights = {}
    for name, value in name_leaves(shipped(model)).items():
        if not (np.abs(value) < np.finfo(np.float16).max).all():
            raise InputError(f"{name} has values beyond float16, or that are none: train the stage anew")
        weights[name] = np.asarray(value, np.float16)
    return weights


def describe_model(model: Model, about: str) -> dict[str, Any]:
    """Returns card.json without the checksum."""
    tree = shipped(model)
    return {
        "about": about,
        "date": datetime.date.today().isoformat(),
        "version": VERSION,
        "users": list(model.users),
        "parameters": {name: sum(x.size for x in jax.tree.leaves(tree[name])) for name in STAGES},
        "steps": [model.prior_step, model.step],
        "student_step": model.student_step,  # 0: without a student
        "fingerprint": model.dataset.fingerprint,
        "metadata": model.dataset.metadata,
        "calibration": model.calibration.to_json() if model.calibration else None,
    }


def spectrogram_size(model: Model) -> tuple[int, int]:
    """Returns rows and frames of a window."""
    rows, frames = spectrogram_shape(model.config)[:2]
    return rows, frames


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
        params[name] = {**params[name], "user": params[name]["user"] | {"embedding": table[-1:]}}
    constants = model.constants | {"people": model.constants["people"][:0]}
    student = dict(model.student)
    if "user" in student:
        student["user"] = student["user"] | {"embedding": student["user"]["embedding"][-1:]}
    bare = model._replace(config=config, users=(), params=params, constants=constants, student=student)
    return bare.with_users({})


def read_exported(workdir: Workdir, config: ConfigDict) -> Model:
    """The model of a folder of `export_model`, without users enrolled since. InputError for files that are damaged."""
    card = read_json(workdir.card, REMEDY)
    with_settings = from_plain_dict(workdir.read_config())
    return build_model(card, workdir.card, workdir.weights, hash_file, config, with_settings)


def read_header(path: Path) -> dict[str, dict]:
    """Returns 'config' and 'card' of a file of `export_file`; InputError for any other file."""
    with refuse_damage(path, REMEDY):
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > HEADER_BYTES:
                raise ValueError("it has no header of a model")
        with safe_open(path, framework="np") as opened:
            header = opened.metadata() or {}
        values = {key: json.loads(header.get(key, "null")) for key in ("config", "card")}
        if not all(isinstance(value, dict) for value in values.values()):
            raise ValueError("it is no model: its header has no 'config' and 'card'")
        return values


def read_exported_file(path: Path, config: ConfigDict) -> Model:
    """The model of a file of `export_file`."""
    header = read_header(path)
    with_settings = from_plain_dict(header["config"])
    return build_model(header["card"], path, path, lambda file: hash_tensors(file.read_bytes()), config, with_settings)


def build_model(
    card: dict[str, Any],
    card_path: Path,
    weights: Path,
    digest: Callable[[Path], str],
    config: ConfigDict,
    shipped_with: ConfigDict,
) -> Model:
    """The model of a card and weights with this digest, and of the configuration that it was shipped with."""
    with refuse_damage(card_path, REMEDY):
        for key, kind in CARD_TYPES.items():
            if not isinstance(card.get(key), kind):
                raise ValueError(f"'{key}' is missing, or of another type")
        users, (prior_step, step) = tuple(card["users"]), map(int, card["steps"])
        student_step = int(card.get("student_step", 0))
        records.check_metadata(card["metadata"], config.data.image_size)
        calibration = Calibration.from_json(card["calibration"]) if card.get("calibration") else None
    check_user_names(users, card_path)
    shapes: dict[str, Any] = {name: parameter_shapes(config, name, len(users)) for name in STAGES}
    del shapes["encoder"]["classifier"]
    shapes["constants"] = constant_shapes(config, len(users))
    if config.sample.guide == EARLY:
        shapes["weaker"] = {name: shapes[name] for name in ("prior", "decoder")}
    instead = denoisers.find_untaught(shipped_with, config) if student_step else ""
    if student_step and not (instead or config.sample.teacher):
        shapes["student"] = parameter_shapes(config, DISTILL, len(users))
    tree = read_weights(weights, shapes, card["sha256"], digest)
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
        calibration=calibration if ("student" in tree) == bool(student_step) else None,  # of the network that drew
        student=tree.get("student", {}),
        student_step=student_step if "student" in tree else 0,
        instead=instead,
    )


def shipped(model: Model) -> Params:
    """All that networks compute with: the classifier of the encoder's training is left out."""
    params: dict[str, Any] = {name: dict(model.params[name]) for name in STAGES}
    params["encoder"].pop("classifier", None)
    other = {"weaker": dict(model.weaker), "student": dict(model.student)}
    return params | {"constants": model.constants} | {name: tree for name, tree in other.items() if tree}


def read_weights(path: Path, shapes: Params, sha256: str, digest: Callable[[Path], str]) -> Params:
    """Arrays of these shapes as float32; InputError for a file that holds others, or is not as it was written."""
    expected = name_leaves(shapes)
    with refuse_damage(path, REMEDY):
        most = HEADER_BYTES + 4 * sum(int(np.prod(x.shape)) for x in expected.values())
        if (found := path.stat().st_size) > most:
            raise ValueError(f"it has {found} bytes, more than {most}")
        if digest(path) != sha256:
            raise ValueError("it has changed since it was written")
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            unused = {name for name in names - expected.keys() if name.startswith(("weaker/", "student/"))}
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


def hash_tensors(data: bytes) -> str:
    """SHA-256 of what follows the header of a .safetensors."""
    return hashlib.sha256(memoryview(data)[8 + int.from_bytes(data[:8], "little") :]).hexdigest()

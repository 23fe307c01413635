"""Configurations: a value out of range for every numeric key, given to train.py and found in a working directory."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Case, parametrize
from make_workdir import sample_from, workdir

from configs import default, tiny
from mdiff_jax.config import to_plain_dict
from mdiff_jax.validation import flatten

DEFAULTS = flatten(default.get_config().to_dict())
NUMBERS = {k: v for k, v in DEFAULTS.items() if isinstance(v, int | float) and not isinstance(v, bool)}
TUPLES = {k: v for k, v in DEFAULTS.items() if isinstance(v, tuple)}
CHOICES = {k: v for k, v in DEFAULTS.items() if isinstance(v, str) and k not in ("data.path", "data.colormap")}
FLAGS = {k: v for k, v in DEFAULTS.items() if isinstance(v, bool)}


def train_with(folder: Path, *settings: str) -> list[str]:
    return ["train.py", "--config=configs/tiny.py", f"--workdir={folder / 'run'}", *settings]


def set_key(key: str, text: str, short: bool = False, works: bool | None = False) -> Case:
    return Case(
        f"{key}={text[:30]}",
        lambda folder: train_with(folder, f"--config.{key}={text}"),
        works,
        names=key.rpartition(".")[2] if works is False else "",
        short=short,
    )


def key_cases() -> Iterator[Case]:
    for i, (key, value) in enumerate(NUMBERS.items()):
        yield set_key(key, "nan" if isinstance(value, float) else "-5", short=i % 12 == 0)
        yield set_key(key, "inf" if isinstance(value, float) else str(10**15))
    for key in TUPLES:
        yield set_key(key, "(-1,-1,-1,-1,-1,-1,-1)")
        yield set_key(key, "('a',)")
    for key in CHOICES:
        yield set_key(key, "nonsense")
    for key in FLAGS:
        yield set_key(key, "perhaps")
    for text in ("1.5", "one", "None", "()", "1e400", "0x", "2**3", "__import__('os')"):
        yield set_key("decoder.batch_size", text)


COMBINATIONS = {
    "no such key": "--config.decoder.heads=3",
    "no such group": "--config.diffusion.timesteps=3",
    "a whole group": "--config.decoder=3",
    "image not a multiple": "--config.data.image_size=(33,32)",
    "image too small": "--config.data.image_size=(1,1)",
    "image huge": "--config.data.image_size=(65536,65536)",
    "patch larger than the image": "--config.decoder.patch=(64,64)",
    "patch 3": "--config.decoder.patch=(3,3)",
    "heads": "--config.prior.heads=5",
    "shares": "--config.data.fractions=(0.5,0.5,0.5)",
    "a share of zero": "--config.data.fractions=(0.9,0.0,0.1)",
    "fold outside": "--config.data.fold=3",
    "more steps than timesteps": "--config.decoder.sample_timesteps=2000",
    "average that is not kept": "--config.sample.ema_decay=0.5",
    "averages twice": "--config.ema_decays=(0.9,0.9)",
    "curriculum of text": "--config.decoder.curriculum=(('a',1),)",
    "segments of text": "--config.distill.curriculum=(('a',1),)",
    "segments that do not divide": "--config.distill.curriculum=((3,1),)",
    "no segments": "--config.stage=distill",
    "a scale that is not learned": "--config.distill.curriculum=((4,1),) --config.sample.cond_scale=9.0",
    "seed of 33 bits": f"--config.seed={2**33}",
    "seed of walkers": f"--config.data.walkers.seed={2**70}",
    "no data": "--config.data.kind=folder",
    "interval reversed": "--config.sample.guidance_interval=(3.0,-3.0)",
    "noise prediction at zero": "--config.decoder.zero_terminal_snr=True --config.decoder.prediction=eps",
}


def combination_cases() -> Iterator[Case]:
    for label, settings in COMBINATIONS.items():
        yield Case(label, lambda folder, s=settings: train_with(folder, *s.split()), short=label == "patch 3")


@parametrize([*key_cases(), *combination_cases()])
def test_train(case, judge):
    judge(case)


# ----------------------------------------------------------------------------- config.json of a working directory

FOUND: dict[str, Any] = {
    "decoder.timesteps": 10**9,
    "prior.timesteps": -1,
    "decoder.sample_timesteps": 0,
    "decoder.channels": [2**30, 2**30],
    "decoder.blocks": 10**6,
    "decoder.attention": [],
    "decoder.head_width": 0,
    "decoder.patch": (0, 4),
    "encoder.embedding_dim": 2**31,
    "encoder.channels": [],
    "prior.width": 2**31,
    "prior.depth": 10**6,
    "prior.heads": 0,
    "data.image_size": [2**20, 2**20],
    "data.channels": "none",
    "data.kind": None,
    "sample.cond_scale": math.inf,
    "sample.prior_cond_scale": math.nan,
    "sample.eta": -1.0,
    "sample.batch_size": -3,
    "sample.num_samples_per_user": 10**12,
    "sample.ema_decay": 2.0,
    "sample.guidance_interval": ["a", "b"],
    "sample.sampler": "__import__",
    "precision": "float8",
    "seed": 2**40,
    "ema_decays": [],
}
TEXTS: dict[str, str] = {
    "empty": "",
    "no JSON": "{",
    "number": "3",
    "list": "[]",
    "null": "null",
    "empty object": "{}",
    "text": '"config"',
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 50_000,
    "one group": '{"decoder": {}}',
    "groups as numbers": json.dumps({**dict.fromkeys(default.get_config().to_dict(), 1)}),
    "dotted": json.dumps(flatten(to_plain_dict(tiny.get_config()))),
}


def workdir_cases() -> Iterator[Case]:
    for key, value in FOUND.items():

        def prepare(folder: Path, key: str = key, value: Any = value) -> list[str]:
            root = workdir(folder)
            values = json.loads((root / "config.json").read_text())
            *groups, name = key.split(".")
            node = values
            for group in groups:
                node = node[group]
            node[name] = value
            (root / "config.json").write_text(json.dumps(values))
            return sample_from(root)

        yield Case(f"found {key}", prepare, short=key in ("decoder.timesteps", "sample.batch_size"))
    for label, text in TEXTS.items():

        def prepare(folder: Path, text: str = text) -> list[str]:
            root = workdir(folder)
            (root / "config.json").write_text(text)
            return sample_from(root)

        yield Case(f"config.json {label}", prepare, names="config", short=label == "list")


@parametrize(workdir_cases())
def test_config_json(case, judge):
    judge(case)

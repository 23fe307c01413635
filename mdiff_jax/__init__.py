"""Micro-Doppler spectrograms of a named walking person, by two-stage diffusion in JAX.

import mdiff_jax
model = mdiff_jax.load("runs/gait")
windows = model.sample("ID_1", n=4, seed=0)  # (4, F, T) in [-1, 1]
"""

import importlib
from typing import TYPE_CHECKING, Any

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.version import VERSION

if TYPE_CHECKING:
    from mdiff_jax.api.models import Model, load, load_base
    from mdiff_jax.api.tasks import augment, evaluate, inspect, train
    from mdiff_jax.evaluation.results import Report
    from mdiff_jax.runtime.config_files import load_config

__version__ = VERSION
__all__ = [
    "InputError",
    "Model",
    "Report",
    "augment",
    "evaluate",
    "inspect",
    "load",
    "load_base",
    "load_config",
    "train",
]
MODULES = {  # of what is imported, and JAX with it, once it is asked for
    **dict.fromkeys(("Model", "load", "load_base"), "api.models"),
    **dict.fromkeys(("augment", "evaluate", "inspect", "train"), "api.tasks"),
    "Report": "evaluation.results",
    "load_config": "runtime.config_files",
}


def __getattr__(name: str) -> Any:
    """One of the names of `__all__`."""
    if name not in MODULES:
        raise AttributeError(f"module 'mdiff_jax' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mdiff_jax.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *MODULES]

"""Micro-Doppler spectrograms of a named walking person, by two-stage diffusion in JAX.

from mdiff_jax import load
model = load("runs/gait")
windows = model.sample(users=["ID_1"], n=4, seed=0)  # (4, F, T) in [-1, 1]
"""

from typing import Any

from mdiff_jax.runtime.version import VERSION

__version__ = VERSION


def __getattr__(name: str) -> Any:
    """`load` and `load_base`, and JAX with them, once they are asked for; `load_config`, by name or path."""
    if name == "load":
        from mdiff_jax.inference.loading import load

        return load
    if name == "load_base":
        from mdiff_jax.inference.base_model import load_base

        return load_base
    if name == "load_config":
        from mdiff_jax.runtime.config_files import load_config

        return load_config
    raise AttributeError(f"module 'mdiff_jax' has no attribute '{name}'")

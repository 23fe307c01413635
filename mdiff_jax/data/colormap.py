"""Coloured images ⇄ one scalar channel, for the colour maps that spectrograms are drawn in.

A map is a curve through the RGB cube; a pixel is inverted to the nearest point of the curve. JPEG moves colours off the
curve (chroma is stored at half size), so the distance to it says whether an image is drawn in that map at all.
"""

import functools

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import cKDTree

from mdiff_jax.errors import InputError

NAMES = ("jet", "viridis", "turbo", "hot", "gray", "plasma", "inferno", "magma")
LEVELS = 256
SUBLEVELS = 8  # points of the curve between two levels
CELLS = 64  # of the look-up cube along each colour
MAX_RESIDUAL = 40.0  # mean distance to the curve, of 255; jet at JPEG quality 75 measures 15 to 20


def to_rgb(scalar: Float[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "... 3"]:
    """Values in [0, 1] → colours, by the nearest of 256 levels."""
    level = np.round(np.clip(scalar, 0.0, 1.0) * (LEVELS - 1)).astype(np.int32)
    return _table(name)[level]


def to_scalar(rgb: UInt8[np.ndarray, "rows columns 3"], name: str) -> Float[np.ndarray, "rows columns"]:
    """Colours → values in [0, 1], float32, by the nearest point of the map's curve."""
    nearest, _ = _cube(name)
    return nearest[_cells(rgb)]


def residual(rgb: UInt8[np.ndarray, "rows columns 3"], name: str) -> float:
    """Mean distance of an image's colours to the map's curve, in units of 1/255."""
    _, distance = _cube(name)
    return float(distance[_cells(rgb)].mean())


def detect(rgb: UInt8[np.ndarray, "rows columns 3"], where: str) -> str:
    """The map an image is drawn in; InputError that names the best match, if none fits. `where` names the image."""
    residuals = {name: residual(rgb, name) for name in NAMES}
    best = min(residuals, key=residuals.__getitem__)
    if residuals[best] > MAX_RESIDUAL:
        raise InputError(
            f"{where} is drawn in no colour map known here: the nearest, {best}, is off by {residuals[best]:.0f} of 255 on "
            "average; give data.channels='rgb', or images in one of " + ", ".join(NAMES)
        )
    return best


@functools.cache
def _table(name: str) -> UInt8[np.ndarray, "levels 3"]:
    if name not in NAMES:
        raise InputError(f"colour map '{name}' is not known: use one of {', '.join(NAMES)}")
    return np.round(matplotlib.colormaps[name](np.linspace(0, 1, LEVELS))[:, :3] * 255).astype(np.uint8)


@functools.cache
def _cube(name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each cell of the RGB cube: the nearest point of the curve in [0, 1], and the distance to it."""
    place = np.linspace(0, 1, (LEVELS - 1) * SUBLEVELS + 1)
    table = _table(name).astype(float)
    curve = np.stack([np.interp(place, np.linspace(0, 1, LEVELS), table[:, c]) for c in range(3)], axis=1)
    centre = (np.arange(CELLS) + 0.5) * 256 / CELLS - 0.5
    cells = np.stack(np.meshgrid(centre, centre, centre, indexing="ij"), axis=-1).reshape(-1, 3)
    distance, nearest = cKDTree(curve).query(cells)
    shape = (CELLS, CELLS, CELLS)
    return place[nearest].astype(np.float32).reshape(shape), distance.astype(np.float32).reshape(shape)


def _cells(rgb: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.moveaxis(rgb // (256 // CELLS), -1, 0))

"""Colored images ⇄ one scalar channel, for the colormaps that spectrograms are plotted in.

A map is a curve through the RGB cube; a pixel is inverted to the nearest point of the curve, between two levels too.
JPEG moves colors off the curve, chroma (stored at half size) more than luma, so chroma counts half in "nearest". The
remaining distance to the curve says whether an image uses that map at all.
"""

import functools

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import cKDTree

from mdiff_jax.runtime.errors import InputError

# Mean distance to the curve, of 255, up to which an image counts as using a map. At JPEG quality 75 and 4:2:0,
# spectrograms measure 11 to 25 in jet, about 15 in turbo, 6 to 9 in the others and 0 in gray.
MAX_RESIDUAL = {"jet": 40, "turbo": 35, "gray": 4} | dict.fromkeys(
    ("parula", "viridis", "hot", "plasma", "inferno", "magma"), 20
)
NAMES = tuple(MAX_RESIDUAL)
LEVELS = 256
SUBLEVELS = 8  # points of the curve between two levels
CELLS = 64  # of the look-up cube along each color
MAX_STEP = 3 * SUBLEVELS  # points of the curve that a projection may move, about half a cell
# RGB → Y, Cb/2, Cr/2 (ITU-R BT.601, as JPEG has it): with chroma at full weight the mean error of jet after JPEG grows
# from 2.1 to 2.4 of 255, of viridis from 2.5 to 3.5.
LUMA_CHROMA = np.array([[0.299, 0.587, 0.114], [-0.084368, -0.165632, 0.25], [0.25, -0.209344, -0.040656]])
# MATLAB's parula at equal distances, R G B; straight between.
PARULA = """
    .2081 .1663 .5292  .1959 .2645 .7279  .0117 .3875 .8820  .0498 .4586 .8641  .0793 .5200 .8312  .0343 .5966 .8199
    .0228 .6535 .7768  .0843 .6928 .7062  .2178 .7250 .6193  .3953 .7459 .5244  .5709 .7485 .4494  .7184 .7411 .3905
    .8507 .7299 .3360  .9739 .7314 .2666  .9880 .8066 .1794  .9589 .8949 .1132  .9763 .9831 .0538"""


def to_rgb(scalar: Float[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "... 3"]:
    """Converts values in [0, 1] to the nearest of 256 colors."""
    level = np.round(np.clip(scalar, 0.0, 1.0) * (LEVELS - 1)).astype(np.int32)
    return table(name)[level]


def to_scalar(rgb: UInt8[np.ndarray, "rows columns 3"], name: str) -> Float[np.ndarray, "rows columns"]:
    """Converts colors to values in [0, 1], float32: the point nearest to a color's cell, projected along the curve."""
    nearest, curve, tangent = _lookup_cube(name)[0], *_weighted_curve(name)
    start = np.take(nearest, _cell_indices(rgb))
    off = rgb.astype(np.float32) @ LUMA_CHROMA.T.astype(np.float32) - np.take(curve, start, axis=0)
    step = np.einsum("rtc,rtc->rt", off, np.take(tangent, start, axis=0)).clip(-MAX_STEP, MAX_STEP)
    return ((start + step) / (len(curve) - 1)).clip(0, 1).astype(np.float32)


def residual(rgb: UInt8[np.ndarray, "rows columns 3"], name: str) -> float:
    """Mean distance in RGB of an image's colors to the map's curve, in units of 1/255."""
    return float(np.take(_lookup_cube(name)[1], _cell_indices(rgb)).mean())


def detect(rgb: UInt8[np.ndarray, "rows columns 3"], where: str) -> str:
    """Returns the colormap of an image; InputError that names the best match if none fits. `where` names the image."""
    pixels = rgb.reshape(-1, 3)
    some = pixels[:: max(1, len(pixels) // 4096)]
    residuals = {name: float(_nearest(some, name)[1].mean()) for name in NAMES}
    fitting = [name for name in NAMES if residuals[name] <= MAX_RESIDUAL[name]]
    best = min(fitting or NAMES, key=residuals.__getitem__)
    if not fitting:
        raise InputError(
            f"{where} uses no known colormap (the nearest map is {best}, off by {residuals[best]:.0f} of 255, more "
            f"than {MAX_RESIDUAL[best]}): give data.channels='rgb', or images in {', '.join(NAMES)}"
        )
    return best


@functools.cache
def table(name: str) -> UInt8[np.ndarray, "levels 3"]:
    """256 colors of a map. Jet and parula are MATLAB's; InputError for an unknown name."""
    if name not in NAMES:
        raise InputError(f"colormap '{name}' is not known: give one of {', '.join(NAMES)}")
    place = np.linspace(0, 1, LEVELS)
    if name == "jet":  # three trapezia; matplotlib's jet has other corners, 4 levels off at most
        level = np.arange(1, LEVELS + 1)[:, None]
        colors = np.clip(1.5 - abs(level - np.array([192, 128, 64])) / 64, 0, 1)
    elif name == "parula":
        nodes = np.array(PARULA.split(), float).reshape(-1, 3)
        colors = np.stack([np.interp(place, np.linspace(0, 1, len(nodes)), nodes[:, c]) for c in range(3)], axis=1)
    else:
        colors = matplotlib.colormaps[name](place)[:, :3]
    return np.round(colors * 255).astype(np.uint8)


@functools.cache
def _curve(name: str) -> tuple[np.ndarray, cKDTree]:
    """Colors of the points along the map's curve, and those points, weighted, to be searched."""
    levels, place = table(name).astype(float), np.linspace(0, 1, (LEVELS - 1) * SUBLEVELS + 1)
    colors = np.stack([np.interp(place, np.linspace(0, 1, LEVELS), levels[:, c]) for c in range(3)], axis=1)
    return colors, cKDTree(colors @ LUMA_CHROMA.T)


@functools.cache
def _weighted_curve(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points of the curve in (Y, Cb/2, Cr/2), and g such that (color - point) · g is a step along it, in points."""
    curve = _curve(name)[0] @ LUMA_CHROMA.T
    tangent = np.gradient(curve, axis=0)
    tangent /= np.maximum((tangent**2).sum(1, keepdims=True), 1e-3)
    return curve.astype(np.float32), tangent.astype(np.float32)


def _nearest(colors: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Nearest points of the curve to (n, 3) colors, and the distances to them in RGB."""
    curve, tree = _curve(name)
    nearest = tree.query(colors @ LUMA_CHROMA.T)[1]
    return nearest, np.linalg.norm(colors - curve[nearest], axis=1)


@functools.cache
def _lookup_cube(name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each cell of the RGB cube: the point of the curve nearest to its center, and the distance to that."""
    center = (np.arange(CELLS) + 0.5) * 256 / CELLS - 0.5
    cells = np.stack(np.meshgrid(center, center, center, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest, distance = _nearest(cells, name)
    shape = (CELLS, CELLS, CELLS)
    return nearest.astype(np.int16).reshape(shape), distance.astype(np.float32).reshape(shape)


def _cell_indices(rgb: np.ndarray) -> np.ndarray:
    """Index of each pixel's cell in the flat cube."""
    cell = (rgb // (256 // CELLS)).astype(np.int32)
    return (cell[..., 0] * CELLS + cell[..., 1]) * CELLS + cell[..., 2]

"""Distances between two sets of windows, in the features of a judge or of the caller's own function."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Features = Float[np.ndarray, "n dim"]
Others = Float[np.ndarray, "m dim"]
DistanceMeasure = Callable[[Features, Others], Float[np.ndarray, " metrics"]]
MANIFOLD_NEIGHBOURS = 5  # a ball of the manifold reaches to the 5th


class Manifold(NamedTuple):
    """Mutual coverage of generated and real points, by balls that reach to the k-th neighbour."""

    precision: float  # share of generated points inside a ball of a real one (Kynkäänniemi et al. 2019)
    recall: float  # share of real points inside a ball of a generated one
    density: float  # mean number of real balls around a generated point, over k (Naeem et al. 2020, equation 4)
    coverage: float  # share of real points whose ball holds a generated one (equation 5)


def kernel_distance(a: Features, b: Others) -> float:
    """Returns the unbiased squared MMD with the kernel (x·y / dim + 1)³ (Binkowski et al. 2018, KID, equation 4).

    Around 0 for two sets of one distribution, possibly a little below.
    """
    n, m = len(a), len(b)
    within_a, within_b = polynomial_kernel(a, a), polynomial_kernel(b, b)
    np.fill_diagonal(within_a, 0.0)
    np.fill_diagonal(within_b, 0.0)
    cross = polynomial_kernel(a, b)
    return float(within_a.sum() / (n * (n - 1)) + within_b.sum() / (m * (m - 1)) - 2 * cross.mean())


def polynomial_kernel(a: Features, b: Others) -> Float[np.ndarray, "n m"]:
    """Returns (x·y / dim + 1)³ of all pairs, in float64."""
    return (a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1.0) ** 3


def frechet_distance(a: Features, b: Others) -> float:
    """Returns |μa - μb|² + tr(A + B - 2 (A^½ B A^½)^½) (Heusel et al. 2017, equation 6).

    With A = R'R from the triangle R of a's centred rows, and B = S'S, the last trace is the sum of singular values of
    S R': real, and small where there are fewer windows than features. Biased at small numbers: only figures from equal
    numbers of windows may be compared.
    """
    roots = [covariance_root(x.astype(np.float64)) for x in (a, b)]
    both = np.linalg.svd(roots[1] @ roots[0].T, compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + sum((r**2).sum() for r in roots) - 2 * both)


def covariance_root(x: Features) -> Float[np.ndarray, "k dim"]:
    """Returns the triangle R of the centred rows, such that R'R is the covariance."""
    return np.linalg.qr(x - x.mean(0), mode="r") / np.sqrt(len(x) - 1)


def manifold_metrics(generated: Features, real: Others, k: int = MANIFOLD_NEIGHBOURS) -> Manifold:
    """Returns precision, recall, density and coverage; both sets need more than k windows."""
    inside = within_radius(generated, real, k)
    return Manifold(
        precision=float(inside.any(1).mean()),
        recall=float(within_radius(real, generated, k).any(1).mean()),
        density=float(inside.sum(1).mean() / k),
        coverage=float(inside.any(0).mean()),
    )


def within_radius(points: Features, centres: Others, k: int) -> Bool[np.ndarray, "n m"]:
    """Returns whether each point lies in the ball of each centre, which reaches to that centre's k-th neighbour."""
    radius = np.partition(squared_distances(centres, centres), k, axis=1)[:, k]  # place 0 is the centre itself
    return squared_distances(points, centres) <= radius[None] + 1e-5


def squared_distances(a: Features, b: Others) -> Float[np.ndarray, "n m"]:
    """Returns squared distances, by plain products: a library's threads cost more than sets of this size."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)


def effective_dimensions(a: Features) -> float:
    """Returns exp of the entropy of the covariance's spectrum, the directions that a set fills (Roy, Vetterli 2007)."""
    values = np.linalg.svd(a.astype(np.float64) - a.mean(0), compute_uv=False) ** 2
    share = values[values > 0] / max(values.sum(), 1e-12)
    return float(np.exp(-(share * np.log(share)).sum()))


class MetricGroup(NamedTuple):
    """Metrics that are computed together."""

    compute: Callable[[Features, Others], Sequence[float]]
    notes: dict[str, str]  # of each metric
    windows: int  # needed in each of the two sets


KERNEL = MetricGroup(
    lambda x, y: [kernel_distance(x, y)], {"kernel distance": "squared, unbiased: about 0 where nothing differs"}, 2
)
SPREAD = MetricGroup(
    lambda x, y: [frechet_distance(x, y), effective_dimensions(x)],
    {
        "Fréchet distance": "large at small numbers, so only beside the real value",
        "effective dimensions": "directions over which windows are spread",
    },
    2,
)
MANIFOLD = MetricGroup(
    manifold_metrics,
    {
        "precision": "share inside the real cloud",
        "recall": "share of the real cloud that is reached",
        "density": "how crowded around real ones; above 1: too typical",
        "coverage": "share of real windows with one nearby",
    },
    MANIFOLD_NEIGHBOURS + 1,
)


def make_distance_measure(full: bool, windows: int) -> tuple[DistanceMeasure, dict[str, str], dict[str, int]]:
    """Returns a measure of two sets of `windows` features each, for each of its values the metric's name and note, and
    the metrics that need more windows: name → how many.

    Of the kernel distance alone, or with `full` of all metrics.
    """
    groups = (KERNEL, SPREAD, MANIFOLD) if full else (KERNEL,)
    able = [group for group in groups if group.windows <= windows]
    notes = {name: note for group in able for name, note in group.notes.items()}
    lacking = {name: group.windows for group in groups if group not in able for name in group.notes}
    return lambda x, y: np.array([value for group in able for value in group.compute(x, y)]), notes, lacking

"""How far a set of windows lies from another: the kernel distance in a judge's features."""

import numpy as np
from jaxtyping import Float

Features = Float[np.ndarray, "n dim"]
Others = Float[np.ndarray, "m dim"]


def kernel_distance(a: Features, b: Others) -> float:
    """Unbiased squared MMD with the kernel (x·y / dim + 1)³ (Binkowski et al. 2018, KID, equation 4).

    Around 0 for two sets of one distribution, possibly a little below.
    """
    n, m = len(a), len(b)
    within_a, within_b = polynomial(a, a), polynomial(b, b)
    np.fill_diagonal(within_a, 0.0)
    np.fill_diagonal(within_b, 0.0)
    cross = polynomial(a, b)
    return float(within_a.sum() / (n * (n - 1)) + within_b.sum() / (m * (m - 1)) - 2 * cross.mean())


def polynomial(a: Features, b: Others) -> Float[np.ndarray, "n m"]:
    return (a.astype(np.float64) @ b.T.astype(np.float64) / a.shape[1] + 1.0) ** 3


def over_halves(made: Features, real: Others, draws: int, seed: int) -> tuple[list[float], list[float]]:
    """Distances of `made` to random halves of `real`, and of the other half to the same: real against real."""
    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for _ in range(draws):
        first, second = np.array_split(rng.permutation(real), 2)
        ours.append(kernel_distance(made, first))
        theirs.append(kernel_distance(second, first))
    return ours, theirs

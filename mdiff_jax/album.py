"""The pictures of a report, from what was measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdiff_jax import pictures
from mdiff_jax.data import export
from mdiff_jax.metrics import identity, kinematics, novelty
from mdiff_jax.metrics.usefulness import Point
from mdiff_jax.metrics.yardstick import Measured, Yardstick
from mdiff_jax.types import Windows

CLOSEST = 8  # pairs on the sheet
COLUMNS = 5  # windows of a user, real and generated each


def draw(
    folder: Path,
    users: Sequence[str],
    colormap: str,
    stick: Yardstick,
    test: Measured,
    generated: Measured,
    points: Sequence[Point],
) -> list[str]:
    """confusion.png, envelopes.png, closest.png, sheet.png and, of a curve, curves.png; their names."""
    # ------------------------------------------------------------------- whom do the judges name?
    pictures.confusion(folder / "confusion.png", confusion(test, generated), users)

    # ------------------------------------------------------------------- how do they walk?
    zero = stick.zero_doppler
    of_user = {
        users[u]: [s.set.windows[s.set.users == u] for s in (test, generated)] for u in np.unique(generated.set.users)
    }
    both = {user: [in_step(windows, zero) for windows in reversed(sets)] for user, sets in of_user.items()}
    bands = {user: {k: (made[k], real[k]) for k in made} for user, (made, real) in both.items()}
    pictures.envelopes(folder / "envelopes.png", bands)

    # ------------------------------------------------------------------- what are they like?
    nearest = np.argsort(-generated.similarity)[:CLOSEST]
    made = generated.set.windows[nearest]
    seen = novelty.aligned(made, stick.train.windows[generated.nearest[nearest]])
    titles = [f"{users[generated.set.users[i]]}, NCC {generated.similarity[i]:.3f}" for i in nearest]
    pictures.pairs(folder / "closest.png", image(made, colormap), image(seen, colormap), titles)
    rows = {u: tuple(image(pictures.spread(x, COLUMNS), colormap) for x in sets) for u, sets in of_user.items()}
    pictures.grid(folder / "sheet.png", rows, zero)

    # ------------------------------------------------------------------- do they help?
    if points:
        pictures.curves(folder / "curves.png", panels(points))
    return ["confusion.png", "envelopes.png", "closest.png", "sheet.png"] + ["curves.png"] * bool(points)


def confusion(test: Measured, generated: Measured) -> dict[str, np.ndarray]:
    """Of each judge, for generated and for unseen windows: row who it is, column whom the judge names."""
    return {
        f"{kind}, {judge}": identity.confusion(p, s.set.users)
        for kind, s in (("generated", generated), ("real", test))
        for judge, p in s.probabilities.items()
    }


def in_step(windows: Windows, zero: float) -> dict[str, np.ndarray]:
    """Envelopes (n, T) rolled in time so that the steps of all windows coincide."""
    found = kinematics.envelopes(windows, zero)
    by = kinematics.in_step(found["highest"])
    return {k: np.stack([np.roll(e, n) for e, n in zip(v, by, strict=True)]) for k, v in found.items()}


def image(windows: Windows, colormap: str) -> np.ndarray:
    """(N, F, T) → (N, F, T, 3) uint8."""
    return export.to_image(windows[..., None], colormap)


def panels(points: Sequence[Point]) -> dict[str, dict[str, list[tuple[float, float, float, float]]]]:
    """A panel a budget, a line a source that begins where nothing is added."""
    found = {}
    for budget in dict.fromkeys(p.budget for p in points):
        mine = [p for p in points if p.budget == budget]
        found[f"{budget or 'all'} real windows a user"] = {
            source: [(p.share, p.accuracy, p.low, p.high) for p in mine if p.source in ("real", source)]
            for source in dict.fromkeys(p.source for p in mine if p.share)
        }
    return found

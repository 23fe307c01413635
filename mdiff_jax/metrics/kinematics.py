"""Is it physically possible? What can be measured of a walk in a window.

The ranges are those of real windows (77 GHz, windows of four steps): highest return over torso 2.97 to 5.0, as a
kinematic model of gait has it, 4 ± 0.5 steps, half of the pixels at the floor.
"""

import numpy as np
from jaxtyping import Float

from mdiff_jax.types import Windows

ZERO_DOPPLER = (
    0.815  # place of zero velocity as a share of the height, where a data set does not say: row 207-210 of 256
)
FLOOR = -0.95
STRONG = -0.6  # a limb's return, clear of the floor
RATIO = (2.97, 5.0)
STEPS = (3.5, 4.5)
FLOOR_SHARE = (0.25, 0.85)
Measures = dict[str, Float[np.ndarray, " windows"]]


def measure(windows: Windows, zero_doppler: float) -> Measures:
    """Of each window: 'ridge' (torso) and 'highest' in shares of the height above zero Doppler, their 'ratio', 'bob',
    'steps' in the window, 'floor' share, share of energy 'below' zero.
    """
    rows = windows.shape[1]
    zero = zero_doppler * rows
    ridge = zero - ridge_rows(windows)
    top = zero - top_rows(windows)
    height = np.percentile(top, 97, axis=1)
    torso = np.maximum(np.median(ridge, axis=1), 0.5)
    power = windows + 1.0
    return {
        "ridge": torso / rows,
        "highest": height / rows,
        "ratio": height / torso,
        "bob": (np.percentile(ridge, 95, axis=1) - np.percentile(ridge, 5, axis=1)) / rows,
        "steps": steps(top),
        "floor": (windows < FLOOR).mean((1, 2)),
        "below": power[:, int(np.ceil(zero)) :].sum((1, 2)) / np.maximum(power.sum((1, 2)), 1e-6),
    }


def plausible(measures: Measures) -> np.ndarray:
    """True where ratio, steps and floor share are those of a walk."""
    checks = (("ratio", RATIO), ("steps", STEPS), ("floor", FLOOR_SHARE))
    return np.all([(measures[name] >= low) & (measures[name] <= high) for name, (low, high) in checks], axis=0)


def ridge_rows(windows: Windows) -> Float[np.ndarray, "windows time"]:
    """Row of the torso in each frame: the centre of the strongest returns."""
    weight = np.maximum(windows + 1.0, 0.0) ** 8
    rows = np.arange(windows.shape[1], dtype=np.float32) + 0.5
    return np.einsum("nft,f->nt", weight, rows) / np.maximum(weight.sum(1), 1e-6)


def top_rows(windows: Windows) -> Float[np.ndarray, "windows time"]:
    """Highest row with a clear return in each frame; the ridge where there is none."""
    clear = windows > STRONG
    highest = np.where(clear.any(1), clear.argmax(1), windows.argmax(1))
    return highest + 0.5


def steps(envelope: Float[np.ndarray, "windows time"]) -> Float[np.ndarray, " windows"]:
    """Steps in a window: its length over the period of the envelope, by autocorrelation; 0 where there is no period."""
    frames = envelope.shape[1]
    centred = envelope - envelope.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * frames, axis=1)) ** 2
    overlap = np.arange(frames, 0, -1)
    correlation = np.fft.irfft(power, axis=1)[:, :frames] / overlap
    shortest, longest = max(2, round(frames / 8)), round(frames / 2)
    before, at, after = (correlation[:, shortest + s : longest + s] for s in (-1, 0, 1))
    strongest = at.max(1, keepdims=True)
    peak = (at >= before) & (at >= after) & (at >= 0.8 * strongest)  # the first of them: later ones are multiples
    first = peak.argmax(1)[:, None]
    b, a, c = (np.take_along_axis(x, first, 1)[:, 0] for x in (before, at, after))
    lag = shortest + first[:, 0] + 0.5 * (b - c) / np.minimum(b - 2 * a + c, -1e-9)  # top of the parabola
    return np.where(peak.any(1) & (a > 0.2 * correlation[:, 0]), frames / lag, 0.0)

"""Kinematic measures of a walk in a window, and whether they are physically plausible.

The ranges are those of real windows (77 GHz, windows of four steps): highest return over torso 2.97 to 5.0, as a
kinematic model of gait has it, 4 ± 0.5 steps, half of the pixels at the floor.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import map_coordinates, uniform_filter1d

from mdiff_jax.data import spectrogram
from mdiff_jax.runtime.array_types import Windows

ZERO_DOPPLER = 0.815  # zero velocity as a share of the height, for data sets that do not say: rows 207-210 of 256
FLOOR_LEVEL = -0.95
CLEAR_RETURN_LEVEL = -0.6  # a limb's return, clear of the floor
RATIO_RANGE = (2.97, 5.0)
STEPS_RANGE = (3.5, 4.5)
FLOOR_SHARE_RANGE = (0.25, 0.85)
MAX_DRIFT = 1 / 3  # of a torso that keeps walking
MEASURE_NOTES = {  # of the measures that are reported
    "ridge": "torso above zero Doppler, share of the height",
    "highest": "highest return above zero Doppler, share of the height",
    "ratio": "highest return over torso",
    "bob": "of the torso, share of the height",
    "steps": "in a window",
    "floor": "share of empty pixels",
    "below": "share of energy below zero Doppler",
    "lowest": "lowest return above zero Doppler, share of the height",
    "alternation": "how much more alike strides are than steps",
    "frames": "that the picture was stretched from; 0: no blocks to be seen",
}
MIN_COLUMNS_FOR_FRAMES = 128  # from which the blocks of stretched frames can be seen
Measures = dict[str, Float[np.ndarray, " windows"]]


def measure_kinematics(windows: Windows, zero_doppler: float) -> Measures:
    """Returns of each window: 'ridge' (torso) and 'highest' in shares of the height above zero Doppler, their 'ratio',
    'bob', 'steps' in the window, 'floor' share, share of energy 'below' zero, 'lowest' return, 'arrow' of time,
    'alternation' of left and right, 'drift' of the torso over the window, averaged over a step, as a share of its
    height above zero, and from MIN_COLUMNS_FOR_FRAMES columns on the 'frames' it was stretched from.
    """
    rows = windows.shape[1]
    zero = zero_doppler * rows
    top, ridge, low = (rows * envelope for envelope in measure_envelopes(windows, zero_doppler).values())
    count, step = count_steps(top), max(2, windows.shape[2] // 4)
    height = np.percentile(top, 97, axis=1)
    torso = np.maximum(np.median(ridge, axis=1), 0.5)
    power = windows + 1.0
    measures = {
        "ridge": torso / rows,
        "highest": height / rows,
        "ratio": height / torso,
        "bob": (np.percentile(ridge, 95, axis=1) - np.percentile(ridge, 5, axis=1)) / rows,
        "steps": count,
        "floor": (windows < FLOOR_LEVEL).mean((1, 2)),
        "below": power[:, int(np.ceil(zero)) :].sum((1, 2)) / np.maximum(power.sum((1, 2)), 1e-6),
        "lowest": np.percentile(low, 3, axis=1) / rows,
        "arrow": time_arrow(top),
        "drift": np.ptp(uniform_filter1d(ridge, step, axis=1)[:, step // 2 : -(step // 2)], axis=1) / torso,
        "alternation": left_right_alternation(top, count),
    }
    if windows.shape[2] >= MIN_COLUMNS_FOR_FRAMES:
        measures["frames"] = np.array([float(spectrogram.native_frames(window)) for window in windows])
    return measures


def select_notes(measures: Measures) -> dict[str, str]:
    """Returns the notes of the reported measures that windows of this size allow."""
    return {name: note for name, note in MEASURE_NOTES.items() if name in measures}


def is_plausible(measures: Measures) -> np.ndarray:
    """Returns True where ratio, steps and floor share are those of a walk."""
    checks = (("ratio", RATIO_RANGE), ("steps", STEPS_RANGE), ("floor", FLOOR_SHARE_RANGE))
    return np.all([(measures[name] >= low) & (measures[name] <= high) for name, (low, high) in checks], axis=0)


def is_start_or_stop(measures: Measures) -> np.ndarray:
    """Returns True where the torso's speed changes by more than a third: somebody starts, stops or turns."""
    return measures["drift"] > MAX_DRIFT


def measure_envelopes(windows: Windows, zero_doppler: float) -> dict[str, Float[np.ndarray, "windows time"]]:
    """Returns 'highest', 'torso' and 'lowest' return in each frame, in shares of the height above zero Doppler."""
    finders = {"highest": top_rows, "torso": ridge_rows, "lowest": lowest_rows}
    return {name: zero_doppler - find_rows(windows) / windows.shape[1] for name, find_rows in finders.items()}


def align_steps(highest: Float[np.ndarray, "windows time"]) -> Int[np.ndarray, " windows"]:
    """Returns frames by which to roll each window so that steps coincide: the strongest wave of 3 to 5 per window then
    begins at 0.
    """
    waves = np.fft.rfft(highest, axis=1)[:, 3:6]
    strongest = np.abs(waves).argmax(1)
    phase = np.angle(np.take_along_axis(waves, strongest[:, None], 1)[:, 0])
    return np.round(phase * highest.shape[1] / (2 * np.pi * (3 + strongest))).astype(int)


def ridge_rows(windows: Windows) -> Float[np.ndarray, "windows time"]:
    """Returns the row of the torso in each frame: the centre of the strongest returns."""
    weight = np.maximum(windows + 1.0, 0.0) ** 8
    rows = np.arange(windows.shape[1], dtype=np.float32) + 0.5
    return np.einsum("nft,f->nt", weight, rows) / np.maximum(weight.sum(1), 1e-6)


def top_rows(windows: Windows) -> Float[np.ndarray, "windows time"]:
    """Returns the highest row with a clear return in each frame; the ridge where there is none."""
    clear = windows > CLEAR_RETURN_LEVEL
    highest = np.where(clear.any(1), clear.argmax(1), windows.argmax(1))
    return highest + 0.5


def lowest_rows(windows: Windows) -> Float[np.ndarray, "windows time"]:
    """Returns the lowest row with a clear return in each frame; the ridge where there is none."""
    clear = windows > CLEAR_RETURN_LEVEL
    lowest = windows.shape[1] - 1 - clear[:, ::-1].argmax(1)
    return np.where(clear.any(1), lowest, windows.argmax(1)) + 0.5


def time_arrow(envelope: Float[np.ndarray, "windows time"]) -> Float[np.ndarray, " windows"]:
    """Returns the skewness of the envelope's slope. A leg gathers speed slowly and is stopped by the ground, so the
    envelope falls faster than it rises: below 0 for 98 % of real windows, of opposite sign if time is reversed.
    """
    slope = np.diff(uniform_filter1d(envelope.astype(np.float64), 3, axis=1)[:, 1:-1], axis=1)
    slope -= slope.mean(1, keepdims=True)
    return (slope**3).mean(1) / np.maximum((slope**2).mean(1), 1e-9) ** 1.5


def left_right_alternation(
    envelope: Float[np.ndarray, "windows time"], count: Float[np.ndarray, " windows"]
) -> Float[np.ndarray, " windows"]:
    """Returns how much more alike strides are than steps: autocorrelation at two steps less that at one, 0 without
    steps.
    """
    correlation = autocorrelation(envelope)
    frames = envelope.shape[1]
    lag = frames / np.maximum(count, 2.5)
    one, two = (map_coordinates(correlation, [np.arange(len(lag)), k * lag], order=1) for k in (1, 2))
    return np.where(count > 0, (two - one) / np.maximum(correlation[:, 0], 1e-9), 0.0)


def autocorrelation(envelope: Float[np.ndarray, "windows time"]) -> Float[np.ndarray, "windows time"]:
    """Returns the mean product of the envelope with itself at each lag, over the frames in common."""
    frames = envelope.shape[1]
    centred = envelope - envelope.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * frames, axis=1)) ** 2
    return np.fft.irfft(power, axis=1)[:, :frames] / np.arange(frames, 0, -1)


def count_steps(envelope: Float[np.ndarray, "windows time"]) -> Float[np.ndarray, " windows"]:
    """Returns the steps in a window: its length over the period of the envelope, by autocorrelation; 0 if there is
    none.
    """
    frames = envelope.shape[1]
    correlation = autocorrelation(envelope)
    shortest, longest = max(2, round(frames / 8)), round(frames / 2)
    before, at, after = (correlation[:, shortest + s : longest + s] for s in (-1, 0, 1))
    strongest = at.max(1, keepdims=True)
    peak = (at >= before) & (at >= after) & (at >= 0.8 * strongest)  # the first of them: later ones are multiples
    first = peak.argmax(1)[:, None]
    b, a, c = (np.take_along_axis(x, first, 1)[:, 0] for x in (before, at, after))
    lag = shortest + first[:, 0] + 0.5 * (b - c) / np.minimum(b - 2 * a + c, -1e-9)  # top of the parabola
    return np.where(peak.any(1) & (a > 0.2 * correlation[:, 0]), frames / lag, 0.0)

"""Windows of walkers, real enough for the laws of metrics. Used by several test files."""

import functools

import numpy as np

from mdiff_jax.data import simulated
from mdiff_jax.metrics.reference import WindowSet

ZERO_DOPPLER = 104.5 / 128  # of the walkers' axis


@functools.cache
def walker_sets() -> tuple[WindowSet, WindowSet]:
    """Training and test windows of three walkers, from different walks that are less unlike than real ones: with so few
    of them real windows would be as far from each other as spoilt ones.
    """
    windows = list(
        simulated.make_windows(
            (64, 64), num_users=3, recordings_per_user=9, windows_per_recording=3, seed=0, difficulty=0.5
        )
    )
    held_out = np.array([w.recording in ("walk_07", "walk_08", "walk_09") for w in windows])
    every = WindowSet(
        np.stack([w.spectrogram for w in windows]),
        np.array([int(w.user[-2:]) - 1 for w in windows]),
        np.array([f"{w.recording}/1" for w in windows]),
        np.array([w.index for w in windows]),
    )
    return every.pick(~held_out), every.pick(held_out)


def drawn_walks(count: int, user: int, rng: np.random.Generator, columns: int = 64) -> np.ndarray:
    """Ridge with a bob and four lobes that rise slowly and fall fast, at any phase; users differ in height."""
    time = np.arange(columns)[None] / columns * 4 + rng.uniform(size=(count, 1))
    rise = (time % 1.0) ** 2
    zero, torso, leg = 52, 9 + np.sin(2 * np.pi * time), (30 + 7 * user) * rise
    row = zero - np.arange(64)[None, :, None]
    inside = (row > 2) & (row < np.maximum(torso + 2, leg)[:, None])
    speckle = rng.uniform(-0.4, 0.2, size=inside.shape)
    x = np.where(np.abs(row - torso[:, None]) < 1.5, 1.0, np.where(inside, speckle, -1.0))
    return x.astype(np.float32)


@functools.cache
def two_walkers() -> tuple[np.ndarray, np.ndarray]:
    """24 windows each of two users, and the users."""
    rng = np.random.default_rng(1)
    return np.concatenate([drawn_walks(24, u, rng) for u in range(2)]), np.repeat([0, 1], 24)

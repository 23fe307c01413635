"""Synthetic users: people with parameters, their walks seen by a radar, windows of four steps.

A user is a vector of parameters; walks vary around it in speed, path, radar height and noise. Because the truth is known,
identity and kinematics of generated windows can be scored exactly.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, qmc

from mdiff_jax.data import gait, radar, spectrogram
from mdiff_jax.types import Window

STEPS_PER_WINDOW = 4  # one more step begins the next window, so that 3 of 4 steps are shared
GAP = 5  # between the indices of two walks
MAX_USERS = 2**15
SPEEDS = (-1.25, 5.45)  # m/s from the lowest to the highest row; faster returns wrap around


class User(NamedTuple):
    """One synthetic person."""

    name: str
    body: gait.Body
    speed: float  # m/s, mean
    gains: dict[str, float]  # amplitude factors of body segments


@dataclasses.dataclass(frozen=True)
class SimulatedWindow:
    """One window with the truth about it. Row 0 is the highest velocity; index counts steps, with a gap between walks."""

    user: str
    recording: str
    index: int
    spectrogram: Window
    truth: dict[str, float]
    velocity: Float[np.ndarray, " freq"]  # m/s of each row
    seconds: float  # of the window


def make_users(num_users: int, seed: int, difficulty: float = 1.0) -> list[User]:
    """Users spread evenly over the population (a Sobol sequence); user k depends on (seed, k) and difficulty alone."""
    points = qmc.Sobol(13, seed=seed).random(64 if num_users <= 64 else MAX_USERS)[:num_users]
    return [_user(k, u, difficulty) for k, u in enumerate(points)]


def _user(k: int, u: np.ndarray, difficulty: float) -> User:
    """Unit cube → a person; the spread between people shrinks as `difficulty` grows."""

    def spread(x: float, low: float, high: float) -> float:
        return (low + high) / 2 + (x - 0.5) * (high - low) / difficulty

    body = gait.Body(
        height=spread(u[0], 1.55, 1.90),
        cadence=spread(u[1], 0.92, 1.08),
        leg=spread(u[2], 0.94, 1.06),
        thigh_to_shank=spread(u[3], 0.94, 1.06),
        arm_swing_right=spread(u[4], 0.3, 1.3),
        arm_swing_left=spread(u[5], 0.3, 1.3),
        asymmetry=spread(u[6], -0.15, 0.15),
        phase_asymmetry=spread(u[7], -0.03, 0.03),
        knee=spread(u[8], 0.85, 1.15),
        ankle=spread(u[9], 0.85, 1.15),
        bob=spread(u[10], 0.6, 1.5),
        torsion=spread(u[10], 0.6, 1.5),
        lean=spread(u[9], -3.0, 8.0),
    )
    loud = {
        name: 10 ** (spread(x, -3.0, 3.0) / 20)
        for name, x in zip(("arm", "leg", "foot"), u[11:13].tolist() + [u[8]], strict=True)
    }
    return User(f"walker_{k + 1:02d}", body, spread(u[12], 0.95, 1.4), _gains(loud))


def _gains(loud: dict[str, float]) -> dict[str, float]:
    part = {"upper_arm": "arm", "forearm": "arm", "thigh": "leg", "shank": "leg", "foot": "foot"}
    names = {name: part[key] for name in radar.SEGMENTS for key in part if name.startswith(key)}
    return {name: loud[names[name]] if name in names else 1.0 for name in radar.SEGMENTS}


def make_windows(
    *,
    num_users: int,
    recordings_per_user: int,
    windows_per_recording: int,
    seed: int,
    size: tuple[int, int] = (128, 64),
    difficulty: float = 1.0,
) -> Iterator[SimulatedWindow]:
    """Windows of all walks of all users, in order of time.

    Window k and k + d share all but d of their four steps; indices jump between walks. A walk depends on
    (seed, user, recording) alone.
    """
    for k, user in enumerate(make_users(num_users, seed, difficulty)):
        index = 1
        for recording in range(recordings_per_user):
            rng = np.random.default_rng([seed, k, recording])
            for window in _walk(user, f"walk_{recording + 1:02d}", index, windows_per_recording, size, rng):
                yield window
            index += windows_per_recording + GAP


def _walk(
    user: User, recording: str, first: int, count: int, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[SimulatedWindow]:
    # --- this walk
    speed = float(np.clip(user.speed + rng.normal(0, 0.05), 0.7, 1.8))
    view = radar.View(rng.uniform(2.0, 4.0), rng.uniform(0.8, 1.2), rng.uniform(-10, 10))
    cycle = gait.cycle(user.body, speed)
    step = cycle.seconds / 2
    rate = (SPEEDS[1] - SPEEDS[0]) * radar.HERTZ_PER_SPEED
    start = cycle.seconds * (rng.integers(0, 2) / 2 + 0.06)  # a little after the torso is fastest
    seconds = (count - 1 + STEPS_PER_WINDOW) * step

    # --- seen by the radar
    margin = 0.1
    coarse = np.arange(start - margin, start + seconds + margin + 0.01, 0.01)
    fine = np.arange(start - margin, start + seconds + margin, 1 / rate)
    slow_wave = 0.03 * np.sin(2 * np.pi * (coarse / seconds * rng.uniform(0.5, 1.5) + rng.uniform()))
    warped = coarse + np.cumsum(slow_wave) * 0.01  # speed drifts by a few per cent within a walk
    signal = radar.slow_time(gait.joints(user.body, speed, warped), coarse, fine, view, user.gains, rng)
    snr = rng.uniform(22, 42)
    power = np.mean(np.abs(signal) ** 2)
    noise = rng.normal(size=(2, len(fine))).astype(np.float32)
    signal = signal + np.sqrt(power / 10 ** (snr / 10) / 2) * (noise[0] + 1j * noise[1])

    # --- windows of four steps
    db, velocity, times = spectrogram.stft(signal, rate, lowest=SPEEDS[0], hertz_per_speed=radar.HERTZ_PER_SPEED)
    truth = user.body._asdict() | {"speed": speed, "steps_per_minute": cycle.steps_per_minute, "stride": cycle.stride}
    for i in range(count):
        inside = (times >= margin + i * step) & (times < margin + (i + STEPS_PER_WINDOW) * step)
        window = spectrogram.from_db(db[:, inside])
        yield SimulatedWindow(
            user.name,
            recording,
            first + i,
            spectrogram.resize(window, size),
            {name: float(value) for name, value in truth.items()},
            velocity,
            STEPS_PER_WINDOW * step,
        )

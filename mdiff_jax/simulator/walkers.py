"""Synthetic walkers: people, their recordings, and windows of spectrograms like those of real radar recordings.

A user is a vector of parameters and user k depends on (seed, k) alone; a recording depends on (seed, user, recording).
The windows are as measured on real data: about four steps each, begun where the torso is fastest, the next one a step
later; 128 Doppler rows, or more that interpolate, and as many frames as four steps take.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from mdiff_jax.runtime.array_types import Window
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import WALKERS
from mdiff_jax.simulator import doppler, gait, radar
from mdiff_jax.simulator.nuisances import (
    MIN_CADENCE,
    PLAIN,
    Course,
    Nuisances,
    cadence,
    draw_nuisances,
    move,
    receive,
    sample_motion,
    window_truth,
)

ROWS, ZERO_ROW = 128, 104  # of a window; zero Doppler
VELOCITY_STEP = 0.05  # m/s a row: from 5.2 down to -1.15 m/s
PRF = 2 * ROWS * VELOCITY_STEP / radar.WAVELENGTH  # Hz; what is faster wraps around, as in real recordings
HOP_SAMPLES = 120  # samples between frames, 37 ms; a frame is ROWS samples, 39 ms
STEPS_PER_WINDOW = 4
DISJOINT_GAP = STEPS_PER_WINDOW  # added to the window index at the end of a recording
FADING_DB = 4.0  # deviation; the columns of real windows differ in strength by that much more than steady returns
BODY_PART_DB = np.array([3.0, -5.0, -4.0, -4.0, -15.0])  # torso, arm, thigh, shank, foot, as in real recordings
MAX_WINDOWS = 10**6
PRIMES = np.array([2, 3, 5, 7, 11, 13, 19, 23, 29, 31, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 89, 97])


class User(NamedTuple):
    """Parameters of a person that all recordings share."""

    gait: gait.Gait
    torso_db: float
    arm_db: float
    thigh_db: float
    shank_db: float
    foot_db: float


@dataclass(frozen=True)
class SimulatedWindow:
    """Window with the values it was simulated from."""

    user: str  # walker_01 …
    recording: str  # walk_01 …
    index: int  # in time order; windows 4 or more apart share no sample, and recordings are that far apart
    spectrogram: Window  # [-1, 1], row 0 the highest velocity; the simulator's own has ROWS rows
    truth: dict[str, float]  # gait and scene of this recording, and the nuisances of this window
    velocities: Float[np.ndarray, " freq"]  # m/s of each row
    seconds: float  # duration of the window


def make_users(num_users: int, seed: int) -> list[User]:
    """Makes people spread evenly over the ranges of `make_user`.

    Parameters are fractions of k √prime, shifted by the seed (Richtmyer's sequence).
    """
    shift = np.random.default_rng([seed, 1]).uniform(size=len(PRIMES))
    return [make_user((shift + k * np.sqrt(PRIMES)) % 1.0) for k in range(num_users)]


def make_user(u: Float[np.ndarray, " parameters"]) -> User:
    """Makes a person from numbers in [0, 1), one per parameter."""
    ranges = dict(
        height=(1.55, 1.90), speed=(0.92, 1.32), cadence=(0.92, 1.08), legs=(0.96, 1.04), thigh=(0.94, 1.06),
        arm_right=(0.3, 1.0), arm_left=(0.3, 1.0), asymmetry=(-0.07, 0.07), limp=(-0.03, 0.03),
        knee=(0.88, 1.12), ankle=(0.85, 1.15), bob=(0.7, 1.4), tilt=(0.1, 0.5), torsion=(0.6, 1.4), lean=(0, 8),
        sway_phase=(0.13, 0.21), sway_peak=(0.2, 0.4),
    )  # fmt: skip
    person = {name: float(low + (high - low) * x) for (name, (low, high)), x in zip(ranges.items(), u, strict=False)}
    gains = (BODY_PART_DB + 6 * u[len(ranges) :] - 3).tolist()
    return User(gait.Gait(**person), *gains)


def vary_walk(user: User, difficulty: float, rng: np.random.Generator) -> tuple[gait.Gait, radar.Scene]:
    """Draws one recording of a person: its gait, and the place and gains of the radar."""
    g = user.gait
    spread = dict(
        speed=0.07, cadence=0.028, arm_right=0.22, arm_left=0.22, asymmetry=0.028, limp=0.011, knee=0.07, ankle=0.084,
        bob=0.17, tilt=0.14, torsion=0.28, lean=2.8, sway_phase=0.017, sway_peak=0.07,
    )  # fmt: skip
    walk = g._replace(**{k: getattr(g, k) + difficulty * s * rng.standard_normal() for k, s in spread.items()})
    gains = (difficulty * 2.8 * rng.standard_normal(5) + np.array(user[1:])).tolist()
    scene = radar.Scene(
        rng.uniform(2, 5), rng.uniform(0.8, 1.2), difficulty * rng.uniform(-14, 14), rng.uniform(52, 62), *gains
    )
    return walk, scene


class Recording(NamedTuple):
    """Slow time of a walk."""

    iq: Complex[np.ndarray, " samples"]
    fastest: Float[np.ndarray, " steps"]  # samples at which the torso is fastest, one more than there are steps
    course: Course


def simulate_slow_time(
    walk: gait.Gait,
    scene: radar.Scene,
    steps: int,
    difficulty: float,
    prf: float,
    rng: np.random.Generator,
    disturbed: Nuisances,
) -> Recording:
    """Simulates a recording of so many steps at `prf` Hz."""
    rate = prf / radar.OVERSAMPLING
    _, duration, _ = gait.gait_cycle(walk)
    times = int((steps + 1.5) / 2 * duration * 1.1 * rate)
    times = int(times / MIN_CADENCE) if disturbed.strength else times
    seconds = np.arange(times) / rate
    drift = np.interp(seconds, np.arange(40) * duration / 2, rng.standard_normal(40))
    pace, heading = sample_motion(disturbed, seconds / (duration / 2))
    advance = (1 + 0.02 * difficulty * drift) * cadence(pace)
    phase = rng.integers(2) / 2 + np.cumsum(advance) / (duration * rate)
    if disturbed.strength:
        walked = slice(np.searchsorted(phase, phase[1] + steps / 2 + 0.6) + 4)
        phase, pace, heading = phase[walked], pace[walked], heading[walked]
        joints = move(walk, phase, pace, heading, 1 / rate)
    else:
        joints = gait.joint_positions(walk, phase)
    ranges, amplitudes = radar.scatterers(joints, scene, max(int(0.06 * rate), 1), rng, disturbed.echoes)
    fastest = np.interp(np.arange(steps + 1) / 2 + next_speed_peak(walk, phase[1]), phase, np.arange(len(phase)) - 1.0)
    iq = radar.slow_time_samples(ranges, amplitudes)
    iq = iq * radar.fading(len(iq), prf, FADING_DB * difficulty * disturbed.fading, rng)
    distance = np.linalg.norm(joints[:, 0] - radar.radar_place(joints, scene), axis=1)
    constant = np.ones_like(distance)
    course = Course(pace, heading, distance, scene.snr_db * constant, 0 * constant)
    if disturbed.strength:
        iq, course = receive(iq, course, disturbed, prf / PRF * ROWS, prf)
    return Recording(iq.astype(np.complex64), fastest * radar.OVERSAMPLING, course)


def next_speed_peak(walk: gait.Gait, after: float) -> float:
    """Phase, in cycles, at which the torso is fastest next."""
    phase = np.linspace(0, 0.5, 101)
    peak = phase[np.argmax(np.gradient(gait.joint_positions(walk, phase)[:, :2, 0].mean(1)))]
    return peak + np.ceil((after - peak) * 2) / 2


def zero_row(rows: int) -> int:
    """Row of zero Doppler among so many."""
    return round(rows * ZERO_ROW / ROWS)


def native_spectrogram(
    iq: Complex[np.ndarray, " samples"],
    scene: radar.Scene,
    fold: int,
    rng: np.random.Generator,
    disturbed: Nuisances,
    rows: int,
) -> Window:
    """Spectrogram (rows, frames) of the samples of a window, its top the strongest returns."""
    zero, hop = zero_row(rows), fold * round(HOP_SAMPLES * disturbed.hop)
    spectrum = doppler.stft(iq, fold * ROWS, hop, zero, disturbed.taper, fold * rows)[:rows]
    db = doppler.to_db(spectrum)
    top = float(np.percentile(db, disturbed.top_percentile))
    if not disturbed.strength:  # else the samples hold noise and clutter
        noise = doppler.complex_noise(db.shape, rng) * 10 ** ((top - scene.snr_db) / 20)
        noise[zero] *= 10 ** ((scene.snr_db + disturbed.clutter_db) / 20)
        db = doppler.to_db(spectrum + noise.astype(np.complex64))
    native = doppler.from_db(db, top, disturbed.span_db)
    return np.where(native < disturbed.detection, np.float32(-1), native)


def make_recording(
    user: User,
    windows: int,
    rng: np.random.Generator,
    difficulty: float,
    wrapped: bool,
    disturbed: Nuisances = PLAIN,
    rows: int = ROWS,
) -> Iterator[tuple[Window, dict[str, float], float]]:
    """Yields the windows (rows, frames) of one recording, with their truth and durations in seconds."""
    walk, scene = vary_walk(user, difficulty, rng)
    gains = (gain + more for gain, more in zip(scene[-5:], disturbed.part_db, strict=True))
    scene = radar.Scene(*scene[:-5], *gains)
    fold = 1 if wrapped else 2
    steps = windows + STEPS_PER_WINDOW - 1
    iq, fastest, course = simulate_slow_time(walk, scene, steps, difficulty, fold * PRF, rng, disturbed)
    truth = gait.kinematic_truth(walk) | {k: float(v) for k, v in scene._asdict().items()}
    for k in range(windows):
        jitter = 0.02 * difficulty * rng.standard_normal() * (fastest[1] - fastest[0])
        start = int(np.clip(fastest[k] + jitter, 0, len(iq) - (fastest[k + STEPS_PER_WINDOW] - fastest[k])))
        stop = start + int(fastest[k + STEPS_PER_WINDOW] - fastest[k])
        window = native_spectrogram(iq[start:stop], scene, fold, rng, disturbed, rows)
        within = slice(start // radar.OVERSAMPLING + 1, stop // radar.OVERSAMPLING + 1)
        told = window_truth(disturbed, Course(*(values[within] for values in course)))
        yield window, truth | told, (stop - start) / (fold * PRF)


def make_windows(
    *,
    num_users: int,
    recordings_per_user: int,
    windows_per_recording: int,
    seed: int,
    difficulty: float = 1.0,
    nuisances: float = 0.0,
    wrapped: bool = True,
    rows: int = ROWS,
) -> Iterator[SimulatedWindow]:
    """Yields all windows, user by user and recording by recording, none of them kept.

    `difficulty` scales how much the recordings of a person differ, `nuisances` what differs for other reasons, starts,
    echoes, haze and the like; unwrapped, speeds off the axis are lost rather than folded back. More `rows` than ROWS
    interpolate between these. InputError for a value outside `ranges.WALKERS`.
    """
    given = (num_users, recordings_per_user, windows_per_recording, difficulty, nuisances, seed)
    for (name, allowed), value in zip(WALKERS.items(), given, strict=True):
        allowed.check(name, value)
    if num_users * recordings_per_user * windows_per_recording > MAX_WINDOWS:
        raise InputError(f"walkers of more than {MAX_WINDOWS} windows in all: give smaller numbers")
    if rows < ROWS:
        raise InputError(f"walkers at {rows} rows: give {ROWS} at least, then resize")
    axis = doppler.row_velocities(rows, PRF, radar.WAVELENGTH, zero_row(rows))
    for u, user in enumerate(make_users(num_users, seed)):
        for r in range(recordings_per_user):
            rng = np.random.default_rng([seed, 2, u, r])
            first = r * (windows_per_recording + DISJOINT_GAP)
            steps = windows_per_recording + STEPS_PER_WINDOW - 1
            disturbed = draw_nuisances(nuisances, steps, np.random.default_rng([seed, 3, u, r]))
            recording = make_recording(user, windows_per_recording, rng, difficulty, wrapped, disturbed, rows)
            for k, (window, truth, seconds) in enumerate(recording):
                name, walk = f"walker_{u + 1:02d}", f"walk_{r + 1:02d}"
                yield SimulatedWindow(name, walk, first + k, window, truth, axis, seconds)

"""Nuisances of a recording: what differs from one walk to the next and says nothing about who walks.

Starts, stops, turns and changes of speed; echoes from walls; haze and interference; noise that shows where the walker
is far; the receiver's settings. `draw_nuisances` draws them with a strength, 0 for none; a window's truth tells them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.ndimage import uniform_filter1d

from mdiff_jax.simulator import doppler, gait
from mdiff_jax.simulator.gait import Points, Time
from mdiff_jax.simulator.radar import OVERSAMPLING, Echo

# Ranges at strength 1. Windows then have the figures of recorded ones: benchmarks/simulated_against_recorded.py.
# Motion
DRIFT, DRIFT_STEPS = 0.05, 3.0  # deviation of the pace, as a share, between points so many steps apart
START, STOP = 0.2, 0.2  # share of recordings that begin, and end, with a standing person
STANDING = (-1.0, 0.2)  # steps before the first one, and after the last
SLOWER, TURN = 0.009, 0.009  # slowing down and turning aside for a moment, events per step
DEPTH = (0.5, 1.0)  # of slowing down, share of the pace that is lost
ANGLE = (50.0, 100.0)  # degrees that a turn leads off the path
RAMP, HOLD = (1.5, 3.0), (0.0, 1.0)  # steps that a change of pace or heading takes, and lasts
MIN_CADENCE = 0.8  # factor: who slows down takes shorter steps, not ever slower ones
# Surroundings
SIDE_SHARE, SIDE_DB, SIDE_DISTANCE = 0.7, (-30.0, -14.0), (1.0, 3.0)  # wall beside the path: of recordings, gain, m
BACK_SHARE, BACK_DB, BACK_DISTANCE = 0.5, (-46.0, -33.0), (0.5, 4.0)  # wall behind it, which reverses velocities
BURSTS, BURST_SECONDS, BURST_DB = 0.05, (0.03, 0.12), (-46.0, -34.0)  # interference: per second, each, below the return
CLUTTER_DB = (-46.0, -30.0)  # what stands still, below the return
# Receiver
HAZE = (0.1, 2.0)  # radians by which the carrier's phase wanders in a second, log-uniform
HAZE_DB, HAZE_SECONDS = 8.0, 0.1  # deviation of the haze within a recording, and seconds between independent values
QUIETER_DB = 23.0  # noise below that of a plain recording, where the walker is nearest
FAR = 8.0  # m; beyond, a walker is not seen any fainter, since rooms end
COMPENSATED = (0.9, 1.1)  # share of the loss with range that the receiver makes up for
PART_DB = ((-7.0, -5.0), (-4.0, -1.0), (2.0, 4.0), (0.0, 2.0), (-5.0, -2.0))  # torso, arm, thigh, shank, foot
FADING = (0.5, 0.75)  # of the fading of a plain recording
SPAN_DB = (43.0, 47.0)  # from the top to the bottom of what is shown
DETECTION = (-0.75, -0.72)  # level below which nothing is shown
TAPER = (0.45, 0.65)  # share of a frame that its taper fills, which decides the Doppler resolution
HOP = (1.05, 1.22)  # samples between frames, by those of a plain recording

SPEED_CHANGE = 1 / 3  # of the pace averaged over a step, within a window: a start, stop or turn
SETTINGS = ("haze", "clutter_db", "compensated", "detection", "fading", "span_db", "taper", "hop")  # that are told
GRID = 16  # points per step of the curves below


class Nuisances(NamedTuple):
    """Nuisances of one recording; the defaults are those of a plain one. Curves have GRID points per step of the
    unhurried walk.
    """

    strength: float = 0.0
    pace: Float[np.ndarray, " points"] = np.ones(1)  # speed as a factor of the walk's own
    heading: Float[np.ndarray, " points"] = np.zeros(1)  # degrees to the left of the path
    echoes: tuple[Echo, ...] = ()
    haze: float = 0.0  # radians per root of a second
    burst_rate: float = 0.0  # per second
    clutter_db: float = -34.0  # of what stands still, below the strongest returns
    compensated: float = 0.0  # share of the loss with range that the receiver makes up for
    detection: float = -0.6  # level below which nothing is shown
    top_percentile: float = 99.7  # of the levels of a window
    part_db: tuple[float, ...] = (0.0,) * 5  # added to the gains of torso, arm, thigh, shank, foot
    fading: float = 1.0  # factor of how much the whole return varies
    span_db: float = doppler.SPAN_DB  # from the top to the bottom of what is shown
    taper: float = 1.0  # share of a frame
    hop: float = 1.0  # samples between frames, by those of a plain recording
    rng: np.random.Generator | None = None  # of noise, haze and bursts


PLAIN = Nuisances()


class Course(NamedTuple):
    """A recording, or a part of it, from time to time."""

    pace: Time
    heading: Time
    distance: Time  # m, from the radar to the pelvis
    snr_db: Time
    interference: Time  # 1 where there is some


def draw_nuisances(strength: float, steps: int, rng: np.random.Generator) -> Nuisances:
    """Draws the nuisances of a recording of so many steps; at strength 0 the recording is plain."""
    if strength == 0:
        return PLAIN
    pace, heading = draw_motion(strength, steps, rng)
    gain_db = 20 * np.log10(strength)

    def between(ends: tuple[float, float], start: float) -> float:
        return start + min(strength, 1.0) * (rng.uniform(*ends) - start)

    return Nuisances(
        strength=strength,
        pace=pace,
        heading=heading,
        echoes=draw_echoes(strength, gain_db, rng),
        haze=strength * np.exp(rng.uniform(*np.log(HAZE))),
        burst_rate=strength * BURSTS,
        clutter_db=between(CLUTTER_DB, PLAIN.clutter_db),
        compensated=between(COMPENSATED, PLAIN.compensated),
        detection=between(DETECTION, PLAIN.detection),
        top_percentile=between((100.0, 100.0), PLAIN.top_percentile),
        part_db=tuple(between((low, high), 0.0) for low, high in PART_DB),
        fading=between(FADING, PLAIN.fading),
        span_db=between(SPAN_DB, PLAIN.span_db),
        taper=between(TAPER, PLAIN.taper),
        hop=between(HOP, PLAIN.hop),
        rng=rng,
    )


# ----------------------------------------------------------------------------- motion


def draw_motion(strength: float, steps: int, rng: np.random.Generator) -> tuple[Time, Time]:
    """Draws pace and heading over a recording."""
    t = np.arange(int(steps / MIN_CADENCE + 4) * GRID) / GRID
    knots = rng.standard_normal(int(t[-1] / DRIFT_STEPS) + 2)
    pace = 1 + strength * DRIFT * np.interp(t / DRIFT_STEPS, np.arange(len(knots)), knots)
    heading = np.zeros_like(t)
    for _ in range(rng.poisson(strength * SLOWER * steps)):
        pace *= 1 - rng.uniform(*DEPTH) * draw_bump(t, rng)
    for _ in range(rng.poisson(strength * TURN * steps)):
        heading += rng.choice([-1, 1]) * rng.uniform(*ANGLE) * draw_bump(t, rng)
    starts, stops = rng.uniform(size=2) < (strength * START, strength * STOP)
    if starts:
        pace *= rise((t - rng.uniform(*STANDING)) / rng.uniform(*RAMP))
    if stops:
        walked = np.cumsum(cadence(pace)) / GRID
        end = t[np.searchsorted(walked, steps - rng.uniform(*STANDING))]
        pace *= rise((end - t) / rng.uniform(*RAMP))
    return np.clip(pace, 0, 1.5), heading


def rise(x: Time) -> Time:
    """Half a cosine from 0 at x = 0 to 1 at x = 1."""
    return (1 - np.cos(np.pi * np.clip(x, 0, 1))) / 2


def draw_bump(t: Time, rng: np.random.Generator) -> Time:
    """Draws when a change that comes and goes does so: 1 there, 0 elsewhere."""
    begin, ramp, hold = rng.uniform(0, t[-1]), rng.uniform(*RAMP), rng.uniform(*HOLD)
    return np.minimum(rise((t - begin) / ramp), rise((begin + 2 * ramp + hold - t) / ramp))


def cadence(pace: Time) -> Time:
    """Returns the factor of steps per second at a factor of speed: its root, as in `gait`, so that the stride has the
    other one.
    """
    return np.maximum(np.sqrt(pace), MIN_CADENCE)


def sample_motion(n: Nuisances, steps: Time) -> tuple[Time, Time]:
    """Returns pace and heading at so many steps of the unhurried walk from its beginning."""
    grid = np.arange(len(n.pace)) / GRID
    return np.interp(steps, grid, n.pace), np.interp(steps, grid, n.heading)


def move(walk: gait.Gait, phase: Time, pace: Time, heading: Time, seconds: float) -> Points:
    """Returns `gait.joint_positions` of a walk whose pace and heading change; `seconds` between times.

    The limbs' swing about its mean shrinks with the stride, so that a foot on the ground stays where it is.
    """
    stride = walk.speed * gait.gait_cycle(walk)[1]
    cycle = np.arange(32) / 32
    forward = np.array([1.0, 0.0, 0.0])
    mean = (gait.joint_positions(walk, cycle) - stride * cycle[:, None, None] * forward).mean(0)
    swing = gait.joint_positions(walk, phase) - stride * phase[:, None, None] * forward - mean
    body = gait.rotate(mean + (pace / cadence(pace))[:, None, None] * swing, heading, 2)
    radians = np.deg2rad(heading)
    path = walk.speed * seconds * np.cumsum(pace[:, None] * np.stack([np.cos(radians), np.sin(radians)], 1), axis=0)
    body[..., :2] += path[:, None]
    return body


# ----------------------------------------------------------------------------- radar


def draw_echoes(strength: float, gain_db: float, rng: np.random.Generator) -> tuple[Echo, ...]:
    """Draws second reflections: from a wall beside the path, which changes the aspect, and from one behind it, which
    reverses the velocities.
    """
    side = Echo(rng.uniform(*SIDE_DB) + gain_db, "side", rng.choice([-1, 1]) * rng.uniform(*SIDE_DISTANCE))
    back = Echo(rng.uniform(*BACK_DB) + gain_db, "back", rng.uniform(*BACK_DISTANCE))
    present = rng.uniform(size=2) < (strength * SIDE_SHARE, strength * BACK_SHARE)
    return tuple(echo for echo, there in zip((side, back), present, strict=True) if there)


def receive(
    iq: Complex[np.ndarray, " samples"], course: Course, n: Nuisances, frame: float, prf: float
) -> tuple[Complex[np.ndarray, " samples"], Course]:
    """Returns a recording's samples as the receiver has them, at `prf` Hz and in frames of so many samples, and the
    course with what became of the noise.

    The return falls with range as R^-4, the noise does not; the receiver makes up for most of that with its gain.
    """
    rng, place = n.rng, np.arange(len(iq)) / OVERSAMPLING + 1
    nearest = course.distance.min()
    distance = np.interp(place, np.arange(len(course.distance)), course.distance)
    seen = np.minimum(distance, max(FAR, nearest)) / nearest
    signal = iq * (distance / nearest) ** 2
    level = np.sqrt(np.mean(np.abs(signal) ** 2))
    wander = 10 ** (HAZE_DB * n.strength / 20 * smooth_noise(len(iq), HAZE_SECONDS * prf, rng))
    signal = signal * np.exp(1j * np.cumsum(n.haze / np.sqrt(prf) * wander * rng.standard_normal(len(iq))))
    bursts = draw_bursts(len(iq), prf, n)
    snr_db = course.snr_db[0] + QUIETER_DB * min(n.strength, 1.0) - 40 * np.log10(seen)
    white = doppler.complex_noise(iq.shape, rng) * np.sqrt(frame * n.taper / 3)  # power 1 in a frame
    noise = white * np.hypot(10 ** (-snr_db / 20), bursts) + 10 ** (n.clutter_db / 20)
    received = (signal + level * noise) * seen ** (-2 * (1 - n.compensated))
    at = np.clip((np.arange(len(course.pace)) - 1) * OVERSAMPLING, 0, len(iq) - 1)
    return received, course._replace(snr_db=snr_db[at], interference=(bursts[at] > 0).astype(float))


def smooth_noise(samples: int, spacing: float, rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Draws normal values, independent ones `spacing` samples apart."""
    place = np.arange(samples) / spacing
    knots = rng.standard_normal(int(place[-1]) + 2)
    return np.interp(place, np.arange(len(knots)), knots)


def draw_bursts(samples: int, prf: float, n: Nuisances) -> Float[np.ndarray, " samples"]:
    """Draws the amplitude of interference, 0 between bursts."""
    out = np.zeros(samples)
    for _ in range(n.rng.poisson(n.burst_rate * samples / prf)):
        begin, length = n.rng.integers(samples), int(n.rng.uniform(*BURST_SECONDS) * prf)
        out[begin : begin + length] = 10 ** (n.rng.uniform(*BURST_DB) / 20)
    return out


# ----------------------------------------------------------------------------- truth


def window_truth(n: Nuisances, course: Course) -> dict[str, float]:
    """Returns what the nuisances are in a window of this course."""
    radial = course.pace * np.cos(np.deg2rad(course.heading))
    step = max(2, len(radial) // 4)
    smooth = uniform_filter1d(radial, step)[step // 2 : -(step // 2)]
    gains = {echo.wall: 10 ** (echo.gain_db / 20) for echo in n.echoes}
    values = {
        "pace_lowest": course.pace.min(),
        "pace_highest": course.pace.max(),
        "turned": np.abs(course.heading).max(),  # degrees off the path
        "start_or_stop": np.ptp(smooth) > max(np.median(radial), 0.0) * SPEED_CHANGE,  # or turn
        "distance": course.distance.mean(),
        "window_snr_db": course.snr_db.mean(),
        "interference": course.interference.mean(),  # share of the time
        "side_echo": gains.get("side", 0.0),  # amplitude, over the direct return
        "back_echo": gains.get("back", 0.0),
    }
    values |= {name: getattr(n, name) for name in SETTINGS}
    return {name: float(value) for name, value in values.items()}

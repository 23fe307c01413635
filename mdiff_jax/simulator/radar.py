"""Radar returns of a walking body: joints → scatterers → slow-time samples.

V. C. Chen, The Micro-Doppler Effect in Radar (2011). Sixteen ellipsoids between the joints of `gait`; each is a cloud
of points along and around its axis, because one point per limb gives thin lines where real limbs are filled and
speckled.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from mdiff_jax.simulator.doppler import complex_noise
from mdiff_jax.simulator.gait import JOINTS

WAVELENGTH = 3.893e-3  # m, 77 GHz
OVERSAMPLING = 16  # slow-time samples for each time at which joints are computed
MIN_CROSS_SECTION_SHARE = 0.15  # of the broadside one: clothes and joints scatter where a smooth spheroid would not
ECHO_STRIDE = 6  # one of so many points makes an echo
FADING_SECONDS = 0.2  # between independent gains
SEGMENTS = (  # from, to, radius in m, points
    ("neck", "crown", 0.10, 6), ("pelvis", "neck", 0.15, 10),
    ("neck", "shoulder_r", 0.06, 4), ("neck", "shoulder_l", 0.06, 4),
    ("shoulder_r", "elbow_r", 0.06, 8), ("shoulder_l", "elbow_l", 0.06, 8),
    ("elbow_r", "hand_r", 0.05, 10), ("elbow_l", "hand_l", 0.05, 10),
    ("pelvis", "hip_r", 0.07, 4), ("pelvis", "hip_l", 0.07, 4),
    ("hip_r", "knee_r", 0.07, 14), ("hip_l", "knee_l", 0.07, 14),
    ("knee_r", "ankle_r", 0.06, 18), ("knee_l", "ankle_l", 0.06, 18),
    ("ankle_r", "toe_r", 0.05, 10), ("ankle_l", "toe_l", 0.05, 10),
)  # fmt: skip


class Scene(NamedTuple):
    """Place of the radar, noise, and gains of the parts of the body."""

    nearest: float = 3.0  # m, distance at which the walk ends
    radar_height: float = 1.0  # m
    heading: float = 0.0  # degrees off the line of sight
    snr_db: float = 25.0  # of the strongest return over the noise, in one frame
    torso_db: float = 0.0  # gain of a part of the body
    arm_db: float = 0.0
    thigh_db: float = 0.0
    shank_db: float = 0.0
    foot_db: float = 0.0


class Echo(NamedTuple):
    """A second way from the body to the radar, by a wall that mirrors the radar."""

    gain_db: float  # over the direct way
    wall: str  # side: beside the path, there by the wall and back directly; back: behind the path, by it both ways
    distance: float  # m; side: of the path, to the left of it; back: of the walk's beginning


def cross_section(radius: float, half: Float[np.ndarray, "*#n"], cosine: Float[np.ndarray, "*#n"]) -> np.ndarray:
    """m² of a spheroid with semi-axes radius, radius, half; cosine of the angle between its axis and the sight line."""
    sine2 = 1 - cosine**2
    return np.pi * radius**4 * half**2 / (radius**2 * sine2 + half**2 * cosine**2) ** 2


def gain_db(scene: Scene, start: str, end: str) -> float:
    """Gain of the part of the body that a segment belongs to."""
    part = end.split("_")[0]
    if part in ("elbow", "hand"):
        return scene.arm_db
    return {"knee": scene.thigh_db, "ankle": scene.shank_db, "toe": scene.foot_db}.get(part, scene.torso_db)


def speckle(points: int, times: int, decay: int, rng: np.random.Generator) -> Complex[np.ndarray, "points times"]:
    """Complex Gaussian gains of unit power that decorrelate over `decay` times, as the aspects of a limb change."""
    knots = times // decay + 3
    z = complex_noise((points, knots), rng) / np.sqrt(2)
    place = np.arange(times) / decay
    k, f = place.astype(int), place % 1.0
    return np.cos(np.pi / 2 * f) * z[:, k] + np.sin(np.pi / 2 * f) * z[:, k + 1]


def radar_place(joints: Float[np.ndarray, "times joints 3"], scene: Scene) -> Float[np.ndarray, " 3"]:
    """Place of the radar, beyond the end of the path."""
    angle = np.deg2rad(scene.heading)
    return np.array([joints[-1, 0, 0] + scene.nearest, np.tan(angle) * scene.nearest, scene.radar_height])


def distances_to(
    place: Float[np.ndarray, " 3"], points: list[Float[np.ndarray, "points times"]]
) -> Float[np.ndarray, "points times"]:
    """Distance in m to x, y, z of points; one coordinate at a time, which takes half as long as `np.linalg.norm`."""
    x, y, z = ((here - there) ** 2 for here, there in zip(place, points, strict=True))
    return np.sqrt(x + y + z)


def echo_ranges(
    points: list[Float[np.ndarray, "points times"]],
    direct: Float[np.ndarray, "points times"],
    radar: Float[np.ndarray, " 3"],
    echo: Echo,
) -> Float[np.ndarray, "points times"]:
    """Distance in m, half of the whole way, to x, y, z of points by a wall."""
    mirrored = radar.copy()
    if echo.wall == "side":
        mirrored[1] = 2 * echo.distance - radar[1]
        return (direct + distances_to(mirrored, points)) / 2
    mirrored[0] = -2 * echo.distance - radar[0]
    return distances_to(mirrored, points)


def scatterers(
    joints: Float[np.ndarray, "times joints 3"],
    scene: Scene,
    decay: int,
    rng: np.random.Generator,
    echoes: tuple[Echo, ...] = (),
) -> tuple[Float[np.ndarray, "points times"], Complex[np.ndarray, "points times"]]:
    """Distance in m and complex amplitude of every point at every time, then of one in ECHO_STRIDE by each echo."""
    radar = radar_place(joints, scene)
    place = {name: joints[:, i] for i, name in enumerate(JOINTS)}
    ranges, amplitudes = [], []
    for start, stop, radius, points in SEGMENTS:
        axis = place[stop] - place[start]
        middle = radar - (place[start] + place[stop]) / 2
        length, distance = np.linalg.norm(axis, axis=1), np.linalg.norm(middle, axis=1)
        cosine = (axis * middle).sum(1) / (length * distance)
        section = cross_section(radius, length / 2, cosine)
        power = np.maximum(section, MIN_CROSS_SECTION_SHARE * np.pi * length**2 / 4) / distance**4
        along = (np.arange(points) + rng.uniform(size=points)) / points
        around = radius * rng.uniform(-1, 1, (points, 1, 3))
        at = [place[start][:, k] + along[:, None] * axis[:, k] + around[..., k] for k in range(3)]
        distances = distances_to(radar, at)
        gain = 10 ** (gain_db(scene, start, stop) / 20) / np.sqrt(points)
        gains = speckle(points, len(joints), decay, rng)
        if (start, stop) == ("pelvis", "neck"):  # one steady return from the chest makes the thin ridge
            gains = np.concatenate([np.full((1, len(joints)), np.sqrt(points)), 0.4 * gains[1:]])
        returns = gain * np.sqrt(power) * gains
        ranges.append(distances)
        amplitudes.append(returns)
        others = np.roll(returns, 1, axis=0)  # another aspect of the body: the speckle of other points
        for echo in echoes:
            ranges.append(echo_ranges([x[::ECHO_STRIDE] for x in at], distances[::ECHO_STRIDE], radar, echo))
            amplitudes.append(10 ** (echo.gain_db / 20) * np.sqrt(ECHO_STRIDE) * others[::ECHO_STRIDE])
    return np.concatenate(ranges), np.concatenate(amplitudes)


def slow_time_samples(
    ranges: Float[np.ndarray, "points times"], amplitudes: Complex[np.ndarray, "points times"]
) -> Complex[np.ndarray, " samples"]:
    """Samples x = Σ a exp(-j 4π r / wavelength), OVERSAMPLING of them per time; between times r is a Catmull-Rom cubic,
    and a is held. The phase of approaching targets rises. samples = (times - 3) · OVERSAMPLING, the first at times[1].
    """
    f = np.arange(OVERSAMPLING) / OVERSAMPLING
    spline = np.stack([-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, f**3 - f**2]) / 2
    total = np.zeros((ranges.shape[1] - 3, OVERSAMPLING), np.complex64)
    neighbours = np.lib.stride_tricks.sliding_window_view(ranges, 4, axis=1)
    for r, a in zip(neighbours, amplitudes.astype(np.complex64), strict=True):
        turns = r @ spline * (2 / WAVELENGTH)
        phase = ((turns - np.round(turns)) * (-2 * np.pi)).astype(np.float32)
        total += a[1:-2, None] * (np.cos(phase) + 1j * np.sin(phase))
    return total.ravel()


def fading(samples: int, rate: float, deviation_db: float, rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Gain of the whole return, which varies over `FADING_SECONDS`: echoes from floor and walls add and cancel."""
    place = np.arange(samples) / (FADING_SECONDS * rate)
    knots = deviation_db * rng.standard_normal(int(place[-1]) + 2)
    return 10 ** (np.interp(place, np.arange(len(knots)), knots) / 20)

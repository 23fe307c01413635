"""What a radar sees of a walking body: ellipsoids of many scatterers → slow-time signal.

Radar cross-section of an ellipsoid and the sum over body segments as in V. C. Chen, The Micro-Doppler Effect in Radar
(2011), chapters 2 and 4; a segment is filled with scatterers, since one point a limb draws thin lines.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.interpolate import CubicSpline

WAVELENGTH = 3.893e-3  # m, 77 GHz
HERTZ_PER_SPEED = 2 / WAVELENGTH  # 514 Hz for each m/s towards the radar


class Segment(NamedTuple):
    """An ellipsoid between two joints; semi-axes `radius`, `radius` and half its length."""

    start: str
    end: str
    radius: float  # m
    scatterers: int
    spread: float  # deviation of scatterers from the axis, m
    gain: float  # of amplitude: clothes, shoes and the beam, chosen so that levels are as in real images


SEGMENTS = {
    "head": Segment("neck", "crown", 0.10, 3, 0.03, 1.0),
    "torso": Segment("pelvis", "neck", 0.15, 10, 0.04, 1.6),
    **{
        f"{name}_{side}": Segment(
            f"{start}_{side}" if start not in ("neck", "pelvis") else start, f"{end}_{side}", r, n, r / 2, gain
        )
        for side in ("right", "left")
        for name, start, end, r, n, gain in (
            ("shoulder", "neck", "shoulder", 0.06, 2, 0.7),
            ("upper_arm", "shoulder", "elbow", 0.06, 5, 0.7),
            ("forearm", "elbow", "hand", 0.05, 5, 0.8),
            ("hip", "pelvis", "hip", 0.07, 2, 0.8),
            ("thigh", "hip", "knee", 0.07, 8, 0.8),
            ("shank", "knee", "ankle", 0.06, 14, 1.1),
            ("foot", "ankle", "toe", 0.05, 5, 0.3),
        )
    },
}


class View(NamedTuple):
    """Where the radar stands, seen from the walk."""

    distance: float  # m, of the body at the end of the walk
    height: float  # m
    heading: float  # degrees between the walk and the line to the radar


def slow_time(
    joints: dict[str, Float[np.ndarray, "coarse 3"]],
    coarse: Float[np.ndarray, " coarse"],
    fine: Float[np.ndarray, " fine"],
    view: View,
    gains: dict[str, float],
    rng: np.random.Generator,
) -> Complex[np.ndarray, " fine"]:
    """Sum over scatterers of sqrt(rcs) exp(-4 pi j r / wavelength), at the fine times.

    The loss with distance, the same for all of a body, is left out: images are scaled to their strongest return.

    `gains` are factors of amplitude by segment. Scatterers keep their place and strength on the body through a walk.
    """
    end = joints["pelvis"][-1, 0] + view.distance * np.cos(np.deg2rad(view.heading))
    radar = np.array([end, view.distance * np.sin(np.deg2rad(view.heading)), view.height])
    signal = np.zeros(len(fine), np.complex64)
    for name, segment in SEGMENTS.items():
        a, b = joints[segment.start], joints[segment.end]
        along, across = b - a, radar - (a + b) / 2
        amplitude = segment.gain * gains[name] * np.sqrt(cross_section(along, across, segment.radius))
        place = rng.uniform(0, 1, segment.scatterers)
        offset = rng.normal(0, segment.spread, (segment.scatterers, 3))
        strength = rng.rayleigh(1 / np.sqrt(2 * segment.scatterers), segment.scatterers)
        points = a[:, None] + along[:, None] * place[None, :, None] + offset[None]
        distance = np.linalg.norm(points - radar, axis=2)
        r = CubicSpline(coarse, distance)(fine)
        level = np.interp(fine, coarse, amplitude)
        phase = (r / (WAVELENGTH / 2)) % 1.0
        waves = np.exp(-2j * np.pi * phase.astype(np.float32)).astype(np.complex64)
        signal += (waves @ strength.astype(np.complex64)) * level.astype(np.float32)
    return signal


def cross_section(
    along: Float[np.ndarray, "times 3"], sight: Float[np.ndarray, "times 3"], radius: float
) -> Float[np.ndarray, " times"]:
    """RCS in m² of an ellipsoid with long axis `along`, seen in direction `sight`; a = b makes it free of phi."""
    c = np.linalg.norm(along, axis=1) / 2
    cosine = np.sum(along * sight, axis=1) / (2 * c * np.linalg.norm(sight, axis=1) + 1e-9)
    square = cosine**2
    return np.pi * radius**4 * c**2 / (radius**2 * (1 - square) + c**2 * square) ** 2

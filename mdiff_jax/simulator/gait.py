"""Gait kinematics: the global human walking model, from angles and offsets over the gait cycle to joints in meters.

Boulic, Magnenat-Thalmann, Thalmann: A global human walking model with real-time kinematic personification,
The Visual Computer 6 (1990) 344-358. Axes: x forward, y left, z up. Phase t in cycles of two steps; t = 0 is the right
heel strike, the left side runs half a cycle ahead. Lengths in meters, angles in degrees where named so.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

HIP_HEIGHT = 0.530  # of body height, as are all lengths below; thigh, shank and ankle height
REFERENCE_HEIGHT = 0.491  # Ht of the model, by which it scales: thigh and shank; with .530 strides are 4 % too long
HEAD, NECK, TORSO = 0.130, 0.052, 0.288
HALF_SHOULDER, HALF_HIP = 0.1295, 0.0955
THIGH, SHANK, FOOT, ANKLE_HEIGHT = 0.245, 0.246, 0.143, 0.039
ANKLE_TO_TOE, SOLE_DROP = np.hypot(FOOT, ANKLE_HEIGHT), np.rad2deg(np.arctan2(ANKLE_HEIGHT, FOOT))
UPPER_ARM, FOREARM = 0.188, 0.152
JOINTS = (
    "pelvis", "neck", "head", "crown",
    "hip_r", "knee_r", "ankle_r", "toe_r", "hip_l", "knee_l", "ankle_l", "toe_l",
    "shoulder_r", "elbow_r", "hand_r", "shoulder_l", "elbow_l", "hand_l",
)  # fmt: skip

Time = Float[np.ndarray, " time"]
Points = Float[np.ndarray, "time joints 3"]


class Gait(NamedTuple):
    """Parameters of a person's gait. The defaults are Boulic's average adult; factors multiply, shares add."""

    height: float = 1.75  # m
    speed: float = 1.2  # m/s
    cadence: float = 1.0  # factor of steps per second; the stride shrinks in return
    legs: float = 1.0  # factor of leg length
    thigh: float = 1.0  # factor of thigh over shank
    arm_right: float = 1.0  # factor of arm swing
    arm_left: float = 1.0
    asymmetry: float = 0.0  # hip and knee amplitude: right gains this share, left loses it
    limp: float = 0.0  # left side is late by this share of the cycle
    knee: float = 1.0  # factor of knee flexion
    ankle: float = 1.0  # factor of ankle motion
    bob: float = 1.0  # factor of vertical and forward sway of the body
    tilt: float = 1.0  # factor of the trunk's nodding about the pelvis
    torsion: float = 1.0  # factor of pelvis and thorax torsion
    lean: float = 0.0  # degrees forward
    sway_phase: float = 0.0  # cycles by which the trunk's forward sway runs ahead of Boulic's
    sway_peak: float = 0.0  # share of a second harmonic that sharpens the peaks of the trunk's speed


def reference_height(gait: Gait) -> float:
    """Height Ht in meters by which the model scales."""
    return REFERENCE_HEIGHT * gait.height * gait.legs


def gait_cycle(gait: Gait) -> tuple[float, float, float]:
    """Relative velocity RV = V/Ht, duration of two steps Dc in seconds, share of it on the ground RDs."""
    rv = gait.speed / reference_height(gait)
    duration = 1.346 * np.sqrt(rv) / rv
    return rv, duration / gait.cadence, (0.752 * duration - 0.143) / duration


def kinematic_truth(gait: Gait) -> dict[str, float]:
    """Quantities that can be measured in a spectrogram, and the parameters themselves."""
    _, duration, _ = gait_cycle(gait)
    return {"steps_per_minute": float(120 / duration), "stride": float(gait.speed * duration), **gait._asdict()}


def periodic_curve(phase: Time, points: list[tuple[float | int, float | int]]) -> Time:
    """Periodic monotone cubic through control points (phase, degrees), PCHIP over three cycles."""
    places, values = np.array(sorted((t % 1.0, v) for t, v in dict(points).items())).T
    three = np.concatenate([places - 1, places, places + 1])
    return PchipInterpolator(three, np.tile(values, 3))(phase % 1.0)


def hip_flexion(phase: Time, rv: float) -> Time:
    """Flexion of the hip in degrees."""
    if rv < 0.5:
        return periodic_curve(phase, [(-0.1, 50 * rv), (0.5, -30 * rv)])
    if rv < 1.3:
        return periodic_curve(phase, [(-0.1, 25), (0.5, -15)])
    q = (rv - 1.3) / 1.7
    points = [(0.2 * q - 0.1, 5 * q + 25), (0.5, -15), (0.9, 6 * q + 25)]
    return periodic_curve(phase, points[:2] if q < 1e-3 else points)


def knee_flexion(phase: Time, rv: float) -> Time:
    """Flexion of the knee in degrees."""
    if rv < 1.3:
        return periodic_curve(phase, [(0.17, 3), (0.4, 3), (0.75, 140 * rv if rv < 0.5 else 70), (1, 3)])
    q = (rv - 1.3) / 1.7
    return periodic_curve(
        phase,
        [(0.17 - 0.05 * q, 22 * q + 3), (0.4, 3), (0.75 - 0.05 * q, 70 - 5 * q), (1 - 0.03 * q, 3 * q + 3)],
    )


def ankle_flexion(phase: Time, rv: float, support: float) -> Time:
    """Flexion of the ankle in degrees, toes up; `support` is RDs."""
    if rv < 0.5:
        low, push, off = -30 * rv - 3, 22 * rv - 3, -34 * rv - 3
        return periodic_curve(phase, [(0, -3), (0.08, low), (0.5, push), (support, off), (0.85, -3)])
    q = max(rv - 1.3, 0.0) / 1.7
    points = [(0, 5 * q - 3), (0.08, 4 * q - 18), (0.5 - 0.1 * q, 8 - 3 * q), (support, -8 * q - 20), (0.85, 5 * q - 3)]
    return periodic_curve(phase, points)


def shoulder_flexion(phase: Time, rv: float) -> Time:
    """Flexion of the shoulder in degrees."""
    swing = 9.88 * rv
    return 3 - swing / 2 - swing * np.cos(2 * np.pi * phase)


def elbow_flexion(phase: Time, rv: float) -> Time:
    """Flexion of the elbow in degrees."""
    if rv < 0.5:
        return periodic_curve(phase, [(0.05, 6 * rv + 3), (0.5, 34 * rv + 3), (0.9, 10 * rv + 3)])
    if rv < 1.3:
        p = (rv - 0.5) / 0.8
        return periodic_curve(phase, [(0.05, 8 * p + 6), (0.01 * p + 0.5, 24 * p + 20), (0.9, 9 * p + 8)])
    q = (rv - 1.3) / 1.7
    return periodic_curve(phase, [(0.05, 14 - 6 * q), (0.04 * q + 0.51, 26 * q + 44), (0.9 - 0.1 * q, 17 - 6 * q)])


def pelvis_roll(phase: Time, rv: float) -> Time:
    """Left/right tilt of the pelvis in degrees: four arcs of cosine."""
    t = phase % 1.0
    arcs = (
        -1 + np.cos(2 * np.pi * 10 * t / 3),
        -1 - np.cos(2 * np.pi * 10 * (t - 0.15) / 7),
        1 - np.cos(2 * np.pi * 10 * (t - 0.5) / 3),
        1 + np.cos(2 * np.pi * 10 * (t - 0.65) / 7),
    )
    return 1.66 * rv * np.select([t < 0.15, t < 0.5, t < 0.65], arcs[:3], arcs[3])


def limb_chain(start: np.ndarray, *links: tuple[float, np.ndarray]) -> list[np.ndarray]:
    """Joints along a limb in the plane of walking; a link is (length, degrees forward of straight down)."""
    joints = [np.broadcast_to(start, (len(links[0][1]), 3))]
    for length, degrees in links:
        a = np.deg2rad(degrees)
        joints.append(joints[-1] + length * np.stack([np.sin(a), np.zeros_like(a), -np.cos(a)], axis=-1))
    return joints


def rotate(points: Points, degrees: Time, axis: int) -> Points:
    """Rotates about the origin: axis 0 rolls (left side up), 1 pitches (leans forward), 2 yaws (left side back)."""
    a, b = {0: (1, 2), 1: (2, 0), 2: (0, 1)}[axis]
    c, s = np.cos(np.deg2rad(degrees))[:, None], np.sin(np.deg2rad(degrees))[:, None]
    out = points.copy()
    out[..., a], out[..., b] = c * points[..., a] - s * points[..., b], s * points[..., a] + c * points[..., b]
    return out


def body_offsets(gait: Gait, phase: Time, rv: float, support: float) -> Float[np.ndarray, "time 3"]:
    """Forward, lateral and vertical motion of the whole body about its mean path, in meters."""
    slow = rv < 0.5
    lateral = -0.128 * rv**2 + 0.128 * rv if slow else 0.032
    forward = -0.084 * rv**2 + 0.084 * rv if slow else 0.021
    vertical = 0.015 * rv
    ahead = phase + gait.sway_phase
    angle = 4 * np.pi * (ahead + 0.625 - support)
    x = -gait.bob * forward * (np.sin(angle) - gait.sway_peak / 2 * np.sin(2 * angle))
    y = -lateral * np.sin(2 * np.pi * (phase - 0.1))
    z = gait.bob * vertical * (np.sin(2 * np.pi * (2 * phase - 0.35)) - 1)
    return reference_height(gait) * np.stack([x, y, z], axis=-1)


def leg_joints(gait: Gait, phase: Time, side: int, rv: float, support: float) -> list[np.ndarray]:
    """Hip, knee, ankle, toe about the pelvis; side +1 left, -1 right."""
    gain = 1 - side * gait.asymmetry
    thigh = 2 * gait.thigh / (1 + gait.thigh)
    length = gait.height * gait.legs
    upper = gain * hip_flexion(phase, rv)
    lower = upper - gain * gait.knee * knee_flexion(phase, rv)
    foot = lower + 90 - SOLE_DROP + gait.ankle * ankle_flexion(phase, rv, support)
    start = np.array([0.0, side * HALF_HIP * gait.height, 0.0])
    links = ((THIGH * thigh, upper), (SHANK * (2 - thigh), lower), (ANKLE_TO_TOE, foot))
    return limb_chain(start, *((length * share, degrees) for share, degrees in links))


def arm_joints(gait: Gait, phase: Time, side: int, rv: float) -> list[np.ndarray]:
    """Shoulder, elbow, hand about the pelvis."""
    swing = gait.arm_left if side > 0 else gait.arm_right
    upper = swing * shoulder_flexion(phase, rv)
    lower = upper + swing * elbow_flexion(phase, rv)
    start = gait.height * np.array([0.0, side * HALF_SHOULDER, TORSO])
    return limb_chain(start, (UPPER_ARM * gait.height, upper), (FOREARM * gait.height, lower))


def joint_positions(gait: Gait, phase: Time) -> Points:
    """Positions of the joints named in JOINTS at each phase (in cycles, any number of them); z = 0 is the ground.

    The body advances by one stride per cycle. Phase need not be even in time: it rises faster as a walk quickens.
    """
    rv, duration, support = gait_cycle(gait)
    t = np.asarray(phase, float)
    left = t + 0.5 - gait.limp
    legs = np.stack(leg_joints(gait, t, -1, rv, support) + leg_joints(gait, left, 1, rv, support), axis=1)
    arms = np.stack(arm_joints(gait, t, -1, rv) + arm_joints(gait, left, 1, rv), axis=1)
    up = np.cumsum([0.0, TORSO, NECK, HEAD])[:, None] * gait.height * np.array([0.0, 0.0, 1.0])
    trunk = np.broadcast_to(up, (len(t), 4, 3)).copy()

    # pelvis: roll, then torsion, for the legs
    legs = rotate(legs, -gait.torsion * pelvis_roll(t, rv), 0)
    legs = rotate(legs, -gait.torsion * 4 * rv * np.cos(2 * np.pi * t), 2)
    # thorax torsion for the arms; the trunk leans as the pelvis tilts
    twist = periodic_curve(t, [(0.1, 4 / 3 * rv), (0.4, -1.5 * rv), (0.6, -4 / 3 * rv), (0.9, 1.5 * rv)])
    arms = rotate(arms, gait.torsion * twist, 2)
    amplitude = -8 * rv**2 + 8 * rv if rv < 0.5 else 2.0
    tilt = gait.tilt * amplitude * (np.sin(2 * np.pi * (2 * (t + gait.sway_phase) - 0.1)) - 1) + gait.lean
    trunk, arms = rotate(trunk, tilt, 1), rotate(arms, tilt, 1)

    path = body_offsets(gait, t, rv, support)
    path[:, 0] += gait.speed * duration * t
    path[:, 2] += HIP_HEIGHT * gait.height * gait.legs
    return np.concatenate([trunk, legs, arms], axis=1) + path[:, None]

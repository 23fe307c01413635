"""The walking model: published speeds and strides, bodies of constant length, limps that are seen."""

import numpy as np
import pytest

from mdiff_jax.simulator import gait


def forward_speeds(person: gait.Gait) -> dict[str, np.ndarray]:
    """m/s over one cycle of two steps, by joint."""
    n = 2000
    places = gait.joint_positions(person, np.linspace(0, 1, n + 1))[..., 0]
    speeds = np.diff(places, axis=0) * n / gait.gait_cycle(person)[1]
    return dict(zip(gait.JOINTS, speeds.T, strict=True))


@pytest.mark.parametrize(
    ("height", "speed", "steps", "ankle", "toe"),
    [(1.75, 1.2, 105.4, 4.35, 5.68), (1.60, 1.0, 100.6, 3.75, 4.90), (1.85, 1.6, 118.3, 5.37, 6.97)],
)
def test_the_gait_model_gives_the_published_speeds(
    height: float, speed: float, steps: float, ankle: float, toe: float
) -> None:
    person = gait.Gait(height=height, speed=speed)
    assert gait.kinematic_truth(person)["steps_per_minute"] == pytest.approx(steps, abs=0.1)
    speeds = forward_speeds(person)
    for side in "rl":
        assert speeds[f"ankle_{side}"].max() == pytest.approx(ankle, rel=0.01)
        assert speeds[f"toe_{side}"].max() == pytest.approx(toe, rel=0.01)


def test_the_average_adult_has_the_published_stride_knee_hand_and_torso() -> None:
    person = gait.Gait(height=1.75, speed=1.2)
    speeds = forward_speeds(person)
    torso = (speeds["pelvis"] + speeds["neck"]) / 2
    assert gait.kinematic_truth(person)["stride"] == pytest.approx(1.367, abs=0.002)
    assert speeds["knee_r"].max() == pytest.approx(2.25, rel=0.01)
    assert speeds["hand_r"].max() == pytest.approx(2.50, rel=0.01)
    assert (torso.min(), torso.max()) == pytest.approx((1.08, 1.32), abs=0.02)


@pytest.mark.parametrize("speed", [0.3, 0.8, 1.2, 1.8])
def test_a_body_walks_on_the_spot_of_its_path(speed: float) -> None:
    """Periodic but for one stride a cycle, mirrored half a cycle later, limbs of constant length."""
    person = gait.Gait(speed=speed)
    phase = np.linspace(0, 1, 101)
    now, later = gait.joint_positions(person, phase), gait.joint_positions(person, phase + 1)
    stride = np.array([gait.kinematic_truth(person)["stride"], 0, 0])
    np.testing.assert_allclose(later - now, np.broadcast_to(stride, now.shape), atol=1e-9)
    half = gait.joint_positions(person, phase + 0.5) - stride / 2
    mirror = [
        gait.JOINTS.index(n[:-1] + {"r": "l", "l": "r"}[n[-1]] if n[-2:] in ("_r", "_l") else n) for n in gait.JOINTS
    ]
    legs = slice(4, 12)
    np.testing.assert_allclose(half[:, mirror][:, legs], (now * [1, -1, 1])[:, legs], atol=1e-9)
    for a, b, share in (
        ("hip_r", "knee_r", gait.THIGH),
        ("knee_l", "ankle_l", gait.SHANK),
        ("elbow_l", "hand_l", 0.152),
    ):
        length = np.linalg.norm(now[:, gait.JOINTS.index(a)] - now[:, gait.JOINTS.index(b)], axis=1)
        np.testing.assert_allclose(length, share * person.height, rtol=1e-9)
    assert now[:, :, 2].min() > -0.12 and now[:, 3, 2].max() < 1.05 * person.height


def test_a_limp_and_an_asymmetry_are_seen() -> None:
    even, odd = forward_speeds(gait.Gait()), forward_speeds(gait.Gait(asymmetry=0.07))
    assert even["ankle_r"].max() == pytest.approx(even["ankle_l"].max(), rel=1e-3)
    assert odd["ankle_r"].max() > 1.05 * odd["ankle_l"].max()
    late = forward_speeds(gait.Gait(limp=0.03))
    steps = (late["ankle_l"].argmax() - late["ankle_r"].argmax()) / 2000 % 1
    assert steps == pytest.approx(0.53, abs=0.01)

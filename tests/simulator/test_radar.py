"""The radar's physics: phase follows the distance, spheroids and speckle have the power they should."""

import numpy as np
import pytest

from mdiff_jax.simulator import doppler, radar, walkers


def test_a_point_that_comes_nearer_is_seen_at_its_velocity() -> None:
    rate = walkers.PRF / radar.OVERSAMPLING
    distance = 6 - 1.5 * np.arange(40) / rate
    iq = radar.slow_time_samples(distance[None], np.ones((1, 40), complex))
    assert len(iq) == 37 * radar.OVERSAMPLING
    power = np.abs(doppler.stft(iq, walkers.ROWS, walkers.HOP_SAMPLES, walkers.ZERO_ROW))
    axis = doppler.row_velocities(walkers.ROWS, walkers.PRF, radar.WAVELENGTH, walkers.ZERO_ROW)
    np.testing.assert_allclose(axis[power.argmax(axis=0)], 1.5, atol=0.03)


def test_slow_time_follows_a_curved_path_between_the_joints_times() -> None:
    rate = walkers.PRF / radar.OVERSAMPLING
    path = lambda t: 5 - 1.2 * t + 0.08 * np.sin(2 * np.pi * 4 * t)  # noqa: E731 - up to 50 m/s²
    iq = radar.slow_time_samples(path(np.arange(60) / rate)[None], np.ones((1, 60), complex))
    exact = np.exp(-4j * np.pi / radar.WAVELENGTH * path(1 / rate + np.arange(len(iq)) / walkers.PRF))
    assert np.abs(np.vdot(exact, iq)) / len(iq) > 0.999


def test_a_spheroid_is_brightest_broadside_and_a_sphere_from_everywhere_alike() -> None:
    cosine = np.linspace(0, 1, 11)
    np.testing.assert_allclose(radar.cross_section(0.1, np.array(0.1), cosine), np.pi * 0.1**2)
    assert (np.diff(radar.cross_section(0.05, np.array(0.2), cosine)) < 0).all()


def test_speckle_has_unit_power_and_forgets() -> None:
    z = radar.speckle(400, 50, 10, np.random.default_rng(0))
    assert np.mean(np.abs(z) ** 2) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(z[:, 0] * z[:, 25].conj())) < 0.2

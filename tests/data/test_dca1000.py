"""Captures of a DCA1000: written here sample by sample as SWRA581 says, from targets and from a simulated walker."""

import json
import os
import shutil

import numpy as np
import pytest
import scipy.constants
from recordings import prepare, save

from mdiff_jax.data import arrays, dca1000, sources
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import gait, radar

PRF, SAMPLES = 4000.0, 32
CARRIER = scipy.constants.c / radar.WAVELENGTH
STFT = arrays.DEFAULT_STFT._replace(frames=16, hop_frames=4)
RESOLUTION = 0.25  # m of a range bin


def beat(ranges, amplitudes, channels=1) -> np.ndarray:
    """Samples (chirps, channels, SAMPLES) of an FMCW radar: the beat's phase grows with the range (points, chirps)."""
    phase = np.exp(4j * np.pi / radar.WAVELENGTH * ranges) * amplitudes
    turn = np.exp(2j * np.pi / (SAMPLES * RESOLUTION) * ranges)
    received = np.stack([(phase * turn**n).sum(0) for n in range(SAMPLES)], axis=-1)
    return received[:, None] * np.exp(1j * np.arange(channels))[:, None]


def write_capture(path, samples, lanes=2, q_first=False, **changes):
    """Writes NAME.bin and NAME.json, value by value."""
    scaled = samples / abs(samples).max() * 30000
    pairs = np.stack([scaled.real, scaled.imag][:: -1 if q_first else 1], axis=-1).round().astype("<i2")
    chirps, channels, count = samples.shape
    if lanes == 2:  # I0 I1 Q0 Q1 I2 I3 Q2 Q3, receiver after receiver
        values = [pairs[:, :, n : n + 2, k] for n in range(0, count, 2) for k in (0, 1)]
        values = np.concatenate(values, axis=-1)
    else:  # I of all receivers, Q of all receivers, sample after sample
        lane = np.zeros((chirps, 4, count, 2), "<i2")
        lane[:, :channels] = pairs
        values = np.concatenate([lane[:, :, n, k] for n in range(count) for k in (0, 1)], axis=-1)
    path.write_bytes(values.tobytes())
    about = {"samples_per_chirp": count, "chirps": chirps, "receive_channels": channels, "prf": PRF, "carrier": CARRIER}
    about |= {"lvds_lanes": lanes} if lanes != 2 else {}
    about |= {"q_first": True} if q_first else {}
    path.with_suffix(".json").write_text(json.dumps(about | changes))


def targets(seconds=1.0, speed=1.5):
    """One approaching at 1.5 m/s from range bin 14, and a wall in bin 3, 100 times as strong."""
    t = np.arange(round(seconds * PRF)) / PRF
    return np.stack([14.5 * RESOLUTION - speed * t, np.full_like(t, 3 * RESOLUTION)]), np.array([[1.0], [100.0]])


@pytest.mark.parametrize(("lanes", "q_first"), [(2, False), (4, False), (2, True), (4, True)])
def test_a_target_lands_on_its_velocity_and_the_wall_is_gone(tmp_path, lanes, q_first):
    write_capture(tmp_path / "walk.bin", beat(*targets(), channels=3), lanes, q_first)
    windows, velocities, seconds, reading = arrays.read_windows(tmp_path / "walk.bin", STFT)
    step = abs(velocities[1] - velocities[0])
    assert abs(velocities[windows.mean((0, 2)).argmax()] - 1.5) <= step
    assert windows[:, abs(velocities) < 2 * step].mean() < -0.8
    assert seconds == 16 * 0.0375 and "power averaged" in reading


def test_both_layouts_hold_the_same_samples_of_each_receiver(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((50, 3, SAMPLES, 2)).view(complex)[..., 0]
    scaled = samples / abs(samples).max() * 30000
    for lanes in (2, 4):
        write_capture(tmp_path / "x.bin", samples, lanes, range_bins=[2, 9])
        profiles = np.fft.fft(scaled * np.hanning(SAMPLES + 1)[:-1], axis=-1)[:, :, 2:10].conj()
        wanted = (profiles - profiles.mean(0)).transpose(1, 2, 0).reshape(24, 50)
        np.testing.assert_allclose(dca1000.load_capture(tmp_path / "x.bin")["iq"], wanted, atol=20)  # of some 60,000


def test_the_bins_of_what_moves_are_chosen_or_given(tmp_path):
    write_capture(tmp_path / "walk.bin", beat(*targets()))
    found = dca1000.load_capture(tmp_path / "walk.bin")["iq"]
    write_capture(tmp_path / "given.bin", beat(*targets()), range_bins=[7, 16])
    given = dca1000.load_capture(tmp_path / "given.bin")["iq"]
    assert given.shape == (10, 4000) and 7 <= len(found) <= 10  # from bin 14.5 to 8.5, and what Hann adds
    write_capture(tmp_path / "wall.bin", beat(*targets()), range_bins=[0, 2])
    assert abs(dca1000.load_capture(tmp_path / "wall.bin")["iq"]).max() < 0.01 * abs(given).max()


def test_a_walkers_capture_gives_the_spectrogram_of_its_slow_time(tmp_path):
    """The simulator's scatterers, once as slow-time samples, once as chirps: range bins see the same Doppler."""
    times = round(1.2 * PRF)
    joints = gait.joint_positions(gait.Gait(), np.arange(times) / PRF / 1.1)
    ranges, amplitudes = radar.scatterers(joints, radar.Scene(), 240, np.random.default_rng(0))
    ranges, amplitudes = ranges[::4], amplitudes[::4]
    iq = (amplitudes * np.exp(-4j * np.pi / radar.WAVELENGTH * ranges)).sum(0)
    save(tmp_path / "walk.npz", iq=iq.astype(np.complex64), prf=np.array(PRF), carrier=np.array(CARRIER))
    write_capture(tmp_path / "walk.bin", beat(ranges, amplitudes))
    one, other = (arrays.read_windows(tmp_path / f"walk.{suffix}", STFT) for suffix in ("npz", "bin"))
    np.testing.assert_allclose(one.velocities, other.velocities)
    moving = abs(one.velocities) > 0.3  # what stands still is left out of captures
    alike = np.corrcoef(one.spectrograms[:, moving].ravel(), other.spectrograms[:, moving].ravel())[0, 1]
    mirrored = np.corrcoef(one.spectrograms[:, moving].ravel(), other.spectrograms[:, ::-1][:, moving].ravel())[0, 1]
    assert alike > 0.9 > 0.5 > mirrored


@pytest.fixture
def folder(tmp_path):
    """Two users, a capture each; the description belongs to it and is not ignored."""
    for speed, user in enumerate(("a", "b"), 1):
        (tmp_path / "in" / user).mkdir(parents=True)
        write_capture(tmp_path / "in" / user / "day_1.bin", beat(*targets(speed=speed)))
    return tmp_path / "in"


def test_captures_are_a_data_set(folder, tmp_path):
    stft = STFT._asdict()
    data = prepare(folder, tmp_path / "data", stft=stft)
    assert len(data) == 6 and set(data.recordings) == {"day_1/1"}
    assert sources.ignored_files(folder, sources.scan_windows(folder, STFT)) is None
    about = folder / "a" / "day_1.json"
    about.write_text(about.read_text().replace("4000.0", "4400.0"))
    with pytest.raises(InputError, match="have changed since"):
        prepare(folder, tmp_path / "data", stft=stft)


GOOD = {"samples_per_chirp": 32, "chirps": 4000, "receive_channels": 1, "prf": PRF, "carrier": CARRIER}
BAD_DESCRIPTIONS = {
    "no JSON": "hello",
    "empty": "",
    "a list": "[1, 2]",
    "deep": "[" * 100_000,
    "endless number": json.dumps(GOOD)[:-1] + ', "chirps": ' + "9" * 5000 + "}",
    "missing": json.dumps({key: value for key, value in GOOD.items() if key != "prf"}),
    "unknown": json.dumps(GOOD | {"prff": 1}),
    "text": json.dumps(GOOD | {"chirps": "4000"}),
    "true": json.dumps(GOOD | {"receive_channels": True}),
    "negative": json.dumps(GOOD | {"chirps": -4000}),
    "huge": json.dumps(GOOD | {"chirps": 10**30}),
    "not finite": json.dumps(GOOD | {"prf": float("inf")}),
    "no number": json.dumps(GOOD | {"carrier": float("nan")}),
    "other length": json.dumps(GOOD | {"chirps": 3999}),
    "odd": json.dumps(GOOD | {"samples_per_chirp": 31}),
    "three lanes": json.dumps(GOOD | {"lvds_lanes": 3}),
    "many receivers": json.dumps(GOOD | {"lvds_lanes": 4, "receive_channels": 5}),
    "bins beyond": json.dumps(GOOD | {"range_bins": [0, 32]}),
    "bins reversed": json.dumps(GOOD | {"range_bins": [9, 3]}),
    "bins of text": json.dumps(GOOD | {"range_bins": "[3, 9]"}),
}


def refused(root, name):
    with pytest.raises(InputError) as caught:
        sources.scan_windows(root, STFT)
    message = str(caught.value)
    assert name in message and "\n" not in message and ": " in message, message
    return message


@pytest.mark.parametrize("kind", BAD_DESCRIPTIONS)
def test_a_bad_description_is_refused_in_one_line(folder, kind):
    (folder / "b" / "day_1.json").write_text(BAD_DESCRIPTIONS[kind])
    refused(folder, str(folder / "b" / "day_1"))


def test_a_capture_without_its_description_is_refused(folder):
    (folder / "b" / "day_1.json").unlink()
    assert "samples_per_chirp" in refused(folder, "day_1.json")
    os.mkfifo(folder / "b" / "day_1.json")
    refused(folder, "day_1.json")
    (folder / "b" / "day_1.json").unlink()
    shutil.copy(folder / "a" / "day_1.json", folder.parent)
    (folder / "b" / "day_1.json").symlink_to(folder.parent / "day_1.json")
    assert "outside" in refused(folder, "day_1.json")


def test_a_capture_of_holes_takes_no_memory(folder):
    path = folder / "b" / "day_1.bin"
    os.truncate(path, 200 * 2**20)  # less than a file may take, and its samples more
    path.with_suffix(".json").write_text(json.dumps(GOOD | {"chirps": 200 * 2**13}))
    assert "GiB" in refused(folder, "day_1.bin")

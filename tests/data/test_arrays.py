"""Array files: every format read alike, velocities in order, I/Q samples on their velocity, damage refused by name."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.constants
from recordings import DB, arrays_of, check_damaged, refused, save

from mdiff_jax.data import arrays, sources, spectrogram
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.simulator import doppler


def save_mat73(path: Path, array: np.ndarray) -> None:
    """As MATLAB writes it: columns first, and the class as an attribute."""
    with h5py.File(path, "w") as file:
        file["db"] = array.T
        file["db"].attrs["MATLAB_class"] = np.bytes_("double")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mat", ".h5", "73.mat"])
def test_every_array_format_gives_the_same(tmp_path, suffix):
    for user in ("a", "b"):
        (tmp_path / user).mkdir()
        path = tmp_path / user / f"walk{suffix}"
        save_mat73(path, DB) if suffix == "73.mat" else save(path, db=DB)
    items = sources.scan_windows(tmp_path)
    assert [item.index for item in items] == [0, 1, 2, 3, 4] * 2
    windows = arrays.read_windows(sources.file_path(tmp_path, items[0])).spectrograms
    np.testing.assert_allclose(windows, np.clip((DB - np.percentile(DB, 99.7)) / 45 + 1, 0, 1) * 2 - 1, atol=1e-5)


def test_an_ascending_velocity_axis_is_turned(tmp_path):
    up = np.linspace(-1, 5, 16)
    save(tmp_path / "up.npz", db=DB, velocity=up)
    save(tmp_path / "down.npz", db=DB[:, ::-1], velocity=up[::-1])
    one, other = arrays.read_windows(tmp_path / "up.npz"), arrays.read_windows(tmp_path / "down.npz")
    np.testing.assert_array_equal(one.spectrograms, other.spectrograms)
    assert one.velocities[0] == 5
    axis = spectrogram.describe_velocity_axis(one.velocities, 8)
    assert axis["zero_doppler"] == pytest.approx((5 * 16 / 6.4 + 0.5) / 16, abs=0.07) and axis["velocity"][0] > 4


def test_samples_of_a_target_land_on_its_velocity(tmp_path):
    """One scatterer approaching at 2 m/s: phase 4 pi v t / wavelength."""
    prf, carrier = 4000.0, 77e9
    t = np.arange(40000) / prf
    iq = np.exp(4j * np.pi * 2.0 * t * carrier / scipy.constants.c)
    save(tmp_path / "x.npz", iq=iq.astype(np.complex64), prf=np.array(prf), carrier=np.array(carrier))
    windows, velocities, seconds, _ = arrays.read_windows(tmp_path / "x.npz")
    assert np.abs(velocities[windows.mean((0, 2)).argmax()] - 2.0) <= abs(velocities[1] - velocities[0])
    assert windows.shape[1:] == (200, arrays.DEFAULT_STFT.frames) and len(windows) == 16 and seconds == 56 * 0.0375
    np.testing.assert_array_equal(windows[1][:, :42], windows[0][:, 14:])


def test_the_power_of_several_range_bins_is_averaged(tmp_path):
    """Of one it stays as it is, bit for bit: what was prepared from it does not change."""
    rng, rates = np.random.default_rng(0), {"prf": np.array(1000.0), "carrier": np.array(77e9)}
    iq = rng.standard_normal((2, 4000, 2)).astype(np.float32).view(np.complex64)[..., 0]
    save(tmp_path / "two.npz", iq=iq, **rates)
    save(tmp_path / "one.npz", iq=iq[:1], **rates)
    spectra = np.stack([doppler.stft(row, 50, 38, int(50 * arrays.DEFAULT_STFT.zero_row)) for row in iq])
    for name, whole in (("one", spectra[0]), ("two", np.sqrt((abs(spectra) ** 2).mean(0)))):
        db = doppler.to_db(whole)
        shown = doppler.from_db(db, float(np.percentile(db, 99.7)))[:, :56]
        [window, *_] = arrays.read_windows(tmp_path / f"{name}.npz").spectrograms
        np.testing.assert_allclose(window, shown, atol=0 if name == "one" else 1e-5)
    save(tmp_path / "turned.npz", iq=iq.T, **rates)
    with pytest.raises(InputError, match=r"turned\.npz"):
        arrays.read_windows(tmp_path / "turned.npz")


def npz_bomb() -> bytes:
    """An array that claims 2^40 numbers."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("db.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)})
    return file.getvalue()


RATES = {"prf": np.array(4000.0), "carrier": np.array(77e9)}
BAD_ARRAYS = {
    "empty": b"",
    "zeros": bytes(500),
    "cut": arrays_of(db=DB)[:300],
    "bomb": npz_bomb(),
    "nan": arrays_of(db=np.where(DB > -30, np.nan, DB)),
    "inf": arrays_of(db=np.where(DB > -30, -np.inf, DB)),
    "object": arrays_of(db=np.array([{"a": 1}, None], object)),
    "text": arrays_of(db=np.array(["a", "b"])),
    "flat": arrays_of(db=DB.ravel()),
    "four axes": arrays_of(db=DB[None]),
    "no windows": arrays_of(db=DB[:0]),
    "two": arrays_of(x=DB, y=DB),
    "unit unknown": arrays_of(x=DB / 80),
    "not model space": arrays_of(spectrogram=DB),
    "complex dB": arrays_of(db=DB + 1j),
    "real samples": arrays_of(iq=DB[0, 0]),
    "no prf": arrays_of(iq=np.exp(1j * np.arange(9000))),
    "short samples": arrays_of(iq=np.exp(1j * np.arange(90)), prf=np.array(4000.0), carrier=np.array(77e9)),
    "velocity": arrays_of(db=DB, velocity=np.zeros(16)),
    "index": arrays_of(db=DB, index=np.arange(3)),
    "thin": arrays_of(db=DB[:, :2]),
    "constant dB": arrays_of(db=np.full_like(DB, -50)),
    "hardly anything": arrays_of(db=np.where(DB.max() == DB, DB, -80)),
    "constant": arrays_of(spectrogram=np.full_like(DB, 0.5)),
    "velocity of text": arrays_of(db=DB, velocity=np.array(["a"] * 16)),
    "endless velocity": arrays_of(db=DB, velocity=np.array([np.inf, *range(14, -1, -1)])),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_a_bad_array_is_refused_by_name(tmp_path, kind):
    for user, data in (("a", arrays_of(db=DB)), ("b", BAD_ARRAYS[kind])):
        (tmp_path / user).mkdir()
        (tmp_path / user / f"walk_{user}.npz").write_bytes(data)
    refused(tmp_path, "walk_b.npz")


BAD_SAMPLES = {
    "silence": arrays_of(iq=np.zeros(9000, complex), **RATES),
    "a click": arrays_of(iq=np.eye(1, 90000, 500).astype(complex)[0], **RATES),
    "loud": arrays_of(iq=1e307 * np.exp(1j * np.arange(20000)), **RATES),
    "carrier": arrays_of(iq=np.exp(1j * np.arange(9000)), prf=np.array(4000.0), carrier=np.array(1e-300)),
    "prf of text": arrays_of(iq=np.exp(1j * np.arange(9000)), prf=np.array("fast"), carrier=np.array(77e9)),
}


@pytest.mark.parametrize("kind", BAD_SAMPLES)
def test_bad_samples_are_refused_by_name(tmp_path, kind):
    (tmp_path / "walk.npz").write_bytes(BAD_SAMPLES[kind])
    with pytest.raises(InputError, match=r"walk\.npz") as caught:
        arrays.read_windows(tmp_path / "walk.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npz", "npy", "mat", "h5"])
def test_damaged_arrays_are_refused_by_name_or_read(tmp_path, suffix):
    save(tmp_path / f"good.{suffix}", db=DB)
    trials = 6 if suffix == "mat" else 25  # .mat is read by a child process
    check_damaged(tmp_path / f"good.{suffix}", lambda path: arrays.read_windows(path).spectrograms, trials)

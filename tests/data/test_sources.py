"""Sources: every layout and format read alike, and everything broken refused by name in one line."""

import io
import json
import os
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.constants
import scipy.io
from PIL import Image

from mdiff_jax.data import arrays, colormap, examples, images, sources, spectrogram
from mdiff_jax.runtime.errors import InputError

RNG = np.random.default_rng(0)
GRAY = np.tile(np.linspace(0, 1, 32)[:, None], (1, 24)).astype(np.float32)
JET = Image.fromarray(colormap.to_rgb(GRAY, "jet"))
DB = (60 * RNG.uniform(size=(5, 16, 20)) - 80).astype(np.float32)


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def two_users(root: Path) -> Path:
    """Two users of three windows."""
    for user in ("a", "b"):
        (root / user).mkdir(parents=True)
        for k in (1, 2, 3):
            (root / user / f"walk{k}.png").write_bytes(png(JET))
    return root


def read_all(root: Path) -> dict[str, np.ndarray]:
    """Every window, as preparation does it."""
    found = examples.read_examples(root, sources.scan_windows(root), examples.ReadOptions((16, 12)))
    return {item.file: window for item, window, _ in found}


def refused(root: Path, name: str) -> str:
    """The one line with which a data set is refused; it names the culprit."""
    with pytest.raises(InputError) as caught:
        read_all(root)
    message = str(caught.value)
    assert name in message and "\n" not in message and ": " in message, message
    return message


# ----------------------------------------------------------------------------- names and order


def test_users_and_times_in_natural_order_whatever_they_are_called(tmp_path):
    for user in ("ID_10", "ID_2", "步行者-3", "Zoë"):
        (tmp_path / user).mkdir()
        for k in (10, 9, 1):
            (tmp_path / user / f"w_{k}.png").write_bytes(png(JET))
    items = sources.scan_windows(tmp_path)
    assert list(dict.fromkeys(item.user for item in items)) == ["ID_2", "ID_10", "Zoë", "步行者-3"]
    assert [item.index for item in items[:3]] == [1, 9, 10]
    assert [item.recording for item in items[:3]] == ["w_/1", "w_/2", "w_/2"], "a gap ends a walk"


def test_number_at_the_end_is_the_index():
    assert sources.split_trailing_number("ID3_case1_1_Doppler57") == ("ID3_case1_1_Doppler", 57)
    assert sources.split_trailing_number("walk") == ("walk", -1)
    assert sources.split_trailing_number("x٣") == ("x٣", -1), "digits of other scripts are letters here"


def test_folders_of_a_user_are_recordings(tmp_path):
    two_users(tmp_path)
    for walk in ("monday", "friday"):
        (tmp_path / "b" / walk).mkdir()
        (tmp_path / "b" / walk / "1.png").write_bytes(png(JET))
    recordings = {item.recording for item in sources.scan_windows(tmp_path) if item.user == "b"}
    assert recordings == {"walk/1", "monday//1", "friday//1"}


# ----------------------------------------------------------------------------- images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_every_kind_of_color_file_gives_the_same(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    (JET.quantize(256) if mode == "P" else JET.convert(mode)).save(path)
    image = images.read_image(path)
    assert np.abs(colormap.to_scalar(image, "jet") - GRAY).max() < 0.02


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_of_8_and_16_bits(tmp_path, bits):
    levels = np.round(GRAY * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    Image.fromarray(levels).save(tmp_path / "x.png")
    assert np.abs(images.read_image(tmp_path / "x.png") - GRAY).max() <= 0.5 / (2**bits - 1) + 1e-6


def test_a_listing(tmp_path):
    (tmp_path / "images").mkdir()
    entries = [{"filename": f"f{k}.png", "user_id": k % 2, "recording": "r", "index": k // 2} for k in range(8)]
    for entry in entries:
        (tmp_path / "images" / entry["filename"]).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_text(json.dumps(entries))
    items = sources.scan_windows(tmp_path)
    assert [(i.user, i.index, i.recording) for i in items] == [(u, k, "r/1") for u in "01" for k in range(4)]
    assert len(read_all(tmp_path)) == 8


# ----------------------------------------------------------------------------- arrays


def save(path: Path, **arrays: np.ndarray) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["db"])
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array


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
    windows, _ = arrays.read_windows(sources.file_path(tmp_path, items[0]))
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
    windows, velocities = arrays.read_windows(tmp_path / "x.npz")
    assert np.abs(velocities[windows.mean((0, 2)).argmax()] - 2.0) <= abs(velocities[1] - velocities[0])
    assert windows.shape[1:] == (200, arrays.DEFAULT_STFT.frames) and len(windows) == 16
    np.testing.assert_array_equal(windows[1][:, :42], windows[0][:, 14:])


def test_one_file_with_a_line_a_window(tmp_path):
    user, index = np.array(["u2", "u10"] * 4), np.arange(8) // 2
    x = RNG.uniform(-1, 1, (8, 16, 12)).astype(np.float32)
    save(tmp_path / "all.npz", spectrogram=x, user=user, index=index)
    items = sources.scan_windows(tmp_path / "all.npz")
    assert [(i.user, i.index) for i in items] == [(u, k) for u in ("u2", "u10") for k in range(4)]
    for file, window in read_all(tmp_path / "all.npz").items():
        np.testing.assert_allclose(window[..., 0], x[int(file.rpartition("#")[2])], atol=1e-5)


# ----------------------------------------------------------------------------- what is broken


def bomb() -> bytes:
    """A PNG of a hundred bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def npz_bomb() -> bytes:
    """An array that claims 2^40 numbers."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("db.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)})
    return file.getvalue()


def arrays_of(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def animated() -> bytes:
    file = io.BytesIO()
    JET.save(file, "PNG", save_all=True, append_images=[JET.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    return file.getvalue()


def see_through() -> bytes:
    image = JET.convert("RGBA")
    image.putalpha(128)
    return png(image)


BAD_IMAGES = {
    "empty": b"",
    "zeros": bytes(2000),
    "text": b"not an image at all\n" * 50,
    "magic": b"GIF89a" + png(JET)[6:],
    "cut": png(JET)[: len(png(JET)) // 2],
    "headless": png(JET)[200:],
    "bomb": bomb(),
    "tiny": png(Image.new("RGB", (1, 1))),
    "animated": animated(),
    "transparent": see_through(),
    "other size": png(JET.resize((25, 32))),
    "gray": png(JET.convert("L")),
    "photo": png(Image.fromarray(RNG.integers(0, 255, (32, 24, 3), np.uint8))),
    "viridis": png(Image.fromarray(colormap.to_rgb(GRAY, "viridis"))),
}
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
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_refused_by_name(tmp_path, kind):
    two_users(tmp_path)
    (tmp_path / "b" / "walk2.png").write_bytes(BAD_IMAGES[kind])
    refused(tmp_path, "walk2.png")


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_a_bad_array_is_refused_by_name(tmp_path, kind):
    for user, data in (("a", arrays_of(db=DB)), ("b", BAD_ARRAYS[kind])):
        (tmp_path / user).mkdir()
        (tmp_path / user / f"walk_{user}.npz").write_bytes(data)
    refused(tmp_path, "walk_b.npz")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "npz", "npy", "mat", "h5"])
def test_damaged_files_are_refused_by_name_or_read(tmp_path, suffix):
    """Random bytes overwritten and ends cut off: no crash, no warning, nothing skipped."""
    path = tmp_path / f"good.{suffix}"
    if suffix in ("png", "jpg", "tif"):
        JET.save(path)
    else:
        save(path, db=DB)
    good, rng = path.read_bytes(), np.random.default_rng(1)
    for trial in range(6 if suffix == "mat" else 25):  # .mat is read by a child process
        damaged = bytearray(good[: rng.integers(1, len(good))] if trial % 2 else good)
        for _ in range(rng.integers(1, 12)):
            damaged[rng.integers(min(len(damaged), 400))] = rng.integers(256)
        bad = tmp_path / f"bad{trial}.{suffix}"
        bad.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                assert np.isfinite(
                    images.read_image(bad) if suffix in ("png", "jpg", "tif") else arrays.read_windows(bad)[0]
                ).all()
            except InputError as error:
                assert bad.name in str(error) and "\n" not in str(error)


def test_folders_that_cannot_be_used(tmp_path):
    refused(tmp_path / "none", "none")
    refused(tmp_path, "holds no folders")
    two_users(tmp_path)
    (tmp_path / "c").mkdir()
    refused(tmp_path, "user 'c' has too few windows (0)")
    (tmp_path / "c" / "1.png").write_bytes(png(JET))
    refused(tmp_path, "user 'c' has too few windows (1)")
    (tmp_path / "c" / "notes.txt").write_text("x")
    refused(tmp_path, "notes.txt")
    (tmp_path / "c" / "notes.txt").unlink()
    (tmp_path / "c" / "2.npz").write_bytes(arrays_of(db=DB))
    refused(tmp_path, "2.npz")


def test_one_user_is_too_few(tmp_path):
    two_users(tmp_path)
    for path in (tmp_path / "b").iterdir():
        path.unlink()
    (tmp_path / "b").rmdir()
    refused(tmp_path, "too few users (1)")


def test_names_that_differ_in_case_alone(tmp_path):
    two_users(tmp_path)
    (tmp_path / "b").rename(tmp_path / "A")
    refused(tmp_path, "A and a" if os.listdir(tmp_path)[0] == "A" else "differ in case")


def test_links_out_of_the_folder(tmp_path):
    inside = two_users(tmp_path / "data")
    (tmp_path / "secret.png").write_bytes(png(JET))
    (inside / "a" / "walk4.png").symlink_to(tmp_path / "secret.png")
    refused(inside, "walk4.png")
    (inside / "a" / "walk4.png").unlink()
    (inside / "a" / "walk5.png").symlink_to("walk5.png")
    refused(inside, "walk5.png")


@pytest.mark.parametrize(
    ("listing", "name"),
    [
        ("{", "metadata.json"),
        ("{}", "metadata.json"),
        ('[{"filename": "1.png"}]', "metadata.json"),
        ("[" * 5000, "metadata.json"),
        ('[{"filename": "../1.png", "user_id": "a"}]', "../1.png"),
        ('[{"filename": "/etc/passwd", "user_id": "a"}]', "/etc/passwd"),
        ('[{"filename": "none.png", "user_id": "a"}]', "none.png"),
        ('[{"filename": "1.png", "user_id": "a"}]', "2.png"),
        ('[{"filename": "1.png", "user_id": "a"}, {"filename": "1.png", "user_id": "b"}]', "1.png"),
        ('[{"filename": "1.png", "user_id": "a", "index": "x"}]', "1.png"),
    ],
)
def test_bad_listings(tmp_path, listing, name):
    (tmp_path / "images").mkdir()
    for file in ("1.png", "2.png", "../1.png"):
        (tmp_path / "images" / file).write_bytes(png(JET))
    (tmp_path / "metadata.json").write_text(listing)
    refused(tmp_path, name)

"""Image files: every kind of color and gray read alike, and everything broken refused by name in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from recordings import GRAY, JET, RNG, check_damaged, png, read_all, refused, two_users

from mdiff_jax.data import colormap, images


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


def test_webp_is_read_like_png(tmp_path):
    JET.save(tmp_path / "x.png")
    JET.save(tmp_path / "x.webp", lossless=True)
    JET.save(tmp_path / "lossy.webp", quality=90)
    exact, same, near = (images.read_image(tmp_path / name) for name in ("x.png", "x.webp", "lossy.webp"))
    np.testing.assert_array_equal(same, exact)
    assert np.abs(colormap.to_scalar(near, "jet") - GRAY).mean() < 0.03
    root = two_users(tmp_path / "in")
    for path in root.rglob("*.png"):
        JET.save(path.with_suffix(".webp"), lossless=True)
        path.unlink()
    assert len(read_all(root)) == 6


def bomb() -> bytes:
    """A PNG of a hundred bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animated() -> bytes:
    file = io.BytesIO()
    JET.save(file, "PNG", save_all=True, append_images=[JET.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    return file.getvalue()


def animated_webp() -> bytes:
    file = io.BytesIO()
    JET.save(file, "WEBP", save_all=True, append_images=[JET.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    return file.getvalue()


def see_through(name: str = "PNG") -> bytes:
    image = JET.convert("RGBA")
    image.putalpha(128)
    return in_format(name, image)


def in_format(name: str, image: Image.Image = JET) -> bytes:
    """An image of a format that Pillow reads, by a file name of another."""
    file = io.BytesIO()
    image.save(file, name)
    return file.getvalue()


BAD_IMAGES = {
    "postscript": in_format("EPS"),  # which Pillow gives to Ghostscript
    "pcx": in_format("PCX"),
    "empty": b"",
    "zeros": bytes(2000),
    "text": b"not an image at all\n" * 50,
    "magic": b"GIF89a" + png(JET)[6:],
    "cut": png(JET)[: len(png(JET)) // 2],
    "headless": png(JET)[200:],
    "bomb": bomb(),
    "tiny": png(Image.new("RGB", (1, 1))),
    "animated": animated(),
    "animated WebP": animated_webp(),
    "cut WebP": in_format("WEBP")[:150],
    "transparent WebP": see_through("WEBP"),
    "transparent": see_through(),
    "other size": png(JET.resize((25, 32))),
    "gray": png(JET.convert("L")),
    "photo": png(Image.fromarray(RNG.integers(0, 255, (32, 24, 3), np.uint8))),
    "viridis": png(Image.fromarray(colormap.to_rgb(GRAY, "viridis"))),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image_is_refused_by_name(tmp_path, kind):
    two_users(tmp_path)
    (tmp_path / "b" / "walk2.png").write_bytes(BAD_IMAGES[kind])
    refused(tmp_path, "walk2.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_damaged_images_are_refused_by_name_or_read(tmp_path, suffix):
    JET.save(tmp_path / f"good.{suffix}")
    check_damaged(tmp_path / f"good.{suffix}", images.read_image, 25)

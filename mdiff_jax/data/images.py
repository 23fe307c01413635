"""Reading of one image file as a window: its format, size and colors are checked, none is guessed."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mdiff_jax.data import colormap
from mdiff_jax.runtime.errors import InputError, one_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 4096 * 4096  # of one image: checked before it is decoded
MAX_FILE_BYTES = 2**28  # of an image file, which is hashed before it is decoded
MIN_SIDE = 8  # rows and columns
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # that are decoded; some of Pillow's others start programs
ImageArray = UInt8[np.ndarray, "rows columns 3"] | Float[np.ndarray, "rows columns"]


def read_image(path: Path) -> ImageArray:
    """Reads an image as RGB, or as values in [0, 1] where it is gray (8 or 16 bit).

    InputError for a file that is no image, is truncated, animated or transparent, or has a size that no window has.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_image(image, path)
            if image.mode.startswith("I"):
                return (np.asarray(image).astype(np.float32) / 65535).clip(0, 1)
            if image.mode in ("1", "L", "LA"):
                return np.asarray(image.convert("L")).astype(np.float32) / 255
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # Pillow's plugins raise anything on damaged files
        reason = one_line(error)
        raise InputError(f"'{path}' cannot be read as an image ({reason}): restore it or remove it") from None


def check_image(image: Image.Image, path: Path) -> None:
    """InputError for an unusable image, before its pixels are decoded, except for the alpha channel."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"'{path}' has {width} x {height} pixels: give at most {MAX_PIXELS}")
    if min(width, height) < MIN_SIDE:
        raise InputError(f"'{path}' is {width}x{height}: give at least {MIN_SIDE} rows and columns")
    if has_second_frame(image):
        raise InputError(f"'{path}' holds several images: save one window per file")
    if image.mode == "F":
        raise InputError(f"'{path}' holds fractions, whose scale is unknown: save an array in dB (.npz, name 'db')")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise InputError(f"'{path}' is partly transparent: save it without alpha")


def has_second_frame(image: Image.Image) -> bool:
    """Whether there is more than one image in a file; they are not counted, since a list of them may have no end."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    return True


def to_rgb(image: ImageArray) -> UInt8[np.ndarray, "rows columns 3"]:
    """Converts an image to RGB."""
    if image.ndim == 3:
        return image
    return np.repeat(np.round(image * 255).astype(np.uint8)[..., None], 3, axis=-1)


def to_scalar(image: ImageArray, name: str, path: Path, strict: bool = True) -> Float[np.ndarray, "rows columns 1"]:
    """Converts an image to (H, W, 1) in [0, 1]; InputError if it does not use the colormap `name` of the data set.

    What is known to use it, such as noise in JPEG, whose colors are off the map, is not asked where not `strict`.
    """
    if image.ndim == 2 and name != "gray":
        raise InputError(f"'{path}' is gray, the data set uses {name}: plot it in {name} or remove it")
    if image.ndim == 2:
        return image[..., None]
    off = colormap.residual(image, name)
    if strict and off > colormap.MAX_RESIDUAL[name]:
        best = colormap.detect(image, f"'{path}'")
        raise InputError(
            f"'{path}' does not use {name} as the others do (off by {off:.0f} of 255; the nearest map is {best}): "
            f"plot it in {name} or give data.channels='rgb'"
        )
    return colormap.to_scalar(image, name)[..., None]

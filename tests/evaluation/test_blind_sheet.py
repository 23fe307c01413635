"""The sheet shows recorded and generated windows as their files hold them; only the key says which is which."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from test_file_windows import measured

from mdiff_jax.data import images
from mdiff_jax.evaluation import blind_sheet


def test_key_says_where_each_picture_is_from(native, tmp_path):
    folder, test = Path(native.config.data.path), measured(native)
    names = blind_sheet.write_blind_sheet(tmp_path, blind_sheet.read_blind_pictures(native, folder, test, test))
    assert names == ["blind.png", "blind_key.json"]
    key = json.loads((tmp_path / "blind_key.json").read_text())
    kinds = [key[str(i + 1)]["kind"] for i in range(len(key))]
    assert kinds.count("recorded") == kinds.count("generated") == 8 and kinds != sorted(kinds)
    sheet = np.asarray(Image.open(tmp_path / "blind.png"))
    for i, about in ((i, key[str(i + 1)]) for i in range(len(key))):
        left = blind_sheet.GAP + i % blind_sheet.COLUMNS * (256 + blind_sheet.GAP)
        top = blind_sheet.GAP + i // blind_sheet.COLUMNS * (256 + blind_sheet.GAP + blind_sheet.LABEL_HEIGHT)
        top += blind_sheet.LABEL_HEIGHT
        shown = sheet[top : top + 256, left : left + 256]
        np.testing.assert_array_equal(shown, images.read_image(folder / about["file"]))


def test_no_sheet_without_recordings(native, tmp_path):
    config = native.config.copy_and_resolve_references()
    config.data.path = str(tmp_path / "gone")
    test = measured(native)
    pictures = blind_sheet.read_blind_pictures(native._replace(config=config), tmp_path, test, test)
    assert blind_sheet.write_blind_sheet(tmp_path, pictures) == []
    assert not list(tmp_path.iterdir())

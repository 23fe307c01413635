"""Laws of what stages are trained on: one embedding for prior and decoder, and bad recordings refused by name."""

import numpy as np
import pytest
from PIL import Image

from configs import tiny
from mdiff_jax.data import colormap
from mdiff_jax.inference import denoisers
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import train_loop, training_data


def test_prior_and_decoder_see_the_embedding_that_the_encoder_gives(trained, writable_root):
    """The table that both train on is the frozen encoder's answer, standardised on the training split."""
    config, params, workdir = trained.config, trained.params["encoder"], Workdir(writable_root)
    data = training_data.prepare_data(config, workdir)
    averages = {str(config.sample.ema_decay): params}
    table, constants, fingerprint, _ = training_data.embed_dataset(config, workdir, data, averages, pytest.fail)
    z = denoisers.make_encoder(config)(params, data.dataset.load(np.array([5])))
    expected = (z - constants["embedding_mean"]) / constants["embedding_deviation"]
    np.testing.assert_allclose(table[5:6], expected, atol=1e-4)
    np.testing.assert_allclose(table[data.rows["train"]].mean(0), 0, atol=1e-4)
    again = training_data.embed_dataset(config, workdir, data, averages, pytest.fail)
    assert again.fingerprint == fingerprint and (again.table == table).all(), "read from the working directory"


def spoil_unreadable(folder):
    (folder / "ID_2" / "walk_3.png").write_bytes(b"no image")


def spoil_size(folder):
    Image.new("RGB", (20, 16), (0, 0, 143)).save(folder / "ID_2" / "walk_3.png")


def spoil_colours(folder):
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "ID_2" / "walk_3.png")


@pytest.mark.parametrize("spoil", [spoil_unreadable, spoil_size, spoil_colours])
def test_a_bad_image_is_named_and_nothing_is_left_behind(tmp_path, spoil):
    for user in ("ID_1", "ID_2"):
        (tmp_path / "recordings" / user).mkdir(parents=True)
        for i in range(4):
            level = np.linspace(0, 1, 256).reshape(16, 16)
            image = Image.fromarray(colormap.to_rgb(np.roll(level, i, 1), "jet"))
            image.save(tmp_path / "recordings" / user / f"walk_{i + 1}.png")
    spoil(tmp_path / "recordings")
    config = tiny.get_config()
    config.data.update(kind="folder", path=str(tmp_path / "recordings"))
    with pytest.raises(InputError, match=r"ID_2/walk_3\.png") as error:
        train_loop.train(config, tmp_path / "runs" / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()

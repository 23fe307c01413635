"""Laws of what stages are trained on: one embedding for prior and decoder, and bad recordings refused by name."""

import jax
import numpy as np
import pytest
from PIL import Image

from configs import tiny
from mdiff_jax.data import colormap
from mdiff_jax.inference import denoisers
from mdiff_jax.runtime.checkpointing import Checkpoints
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import train_loop, training_data


def test_prior_and_decoder_see_the_embedding_that_the_encoder_gives(trained, writable_root):
    """The table that both train on is the frozen encoder's answer, standardised on the training split."""
    config, params, workdir = trained.config, trained.params["encoder"], Workdir(writable_root)
    data = training_data.prepare_data(config, workdir)
    averages = {str(config.sample.ema_decay): params}
    table, constants, fingerprint, _ = training_data.embed_dataset(config, workdir, data, averages, pytest.fail)
    batch = {"spectrogram": data.dataset.load(np.array([5])), "frames": data.dataset.frames[5:6]}
    z = denoisers.make_encoder(config)(params, batch)
    expected = (z - constants["embedding_mean"]) / constants["embedding_deviation"]
    np.testing.assert_allclose(table[5:6], expected, atol=1e-4)
    np.testing.assert_allclose(table[data.rows["train"]].mean(0), 0, atol=1e-4)
    again = training_data.embed_dataset(config, workdir, data, averages, pytest.fail)
    assert again.fingerprint == fingerprint and (again.table == table).all(), "read from the working directory"


def embed(trained, root, averages, said, decay=0.999):
    config, workdir = trained.config.copy_and_resolve_references(), Workdir(root)
    with config.unlocked():
        config.ema_decays, config.sample.ema_decay = (0.5, 0.999), decay
    data = training_data.prepare_data(config, workdir)
    return training_data.embed_dataset(config, workdir, data, averages, said.append)


@pytest.mark.parametrize("damage", [lambda data: data[:300], lambda data: b"", lambda data: data[:-400] + data[-399:]])
def test_damaged_embeddings_are_made_anew(trained, writable_root, damage):
    averages, said = {"0.999": trained.params["encoder"]}, []
    before = embed(trained, writable_root, averages, said)
    path = Workdir(writable_root).embeddings
    path.write_bytes(damage(path.read_bytes()))
    again = embed(trained, writable_root, averages, said)
    np.testing.assert_array_equal(again.table, before.table)
    assert len(said) == 1 and said[0].endswith("made anew") and "embeddings.npz cannot be read" in said[0]
    assert embed(trained, writable_root, averages, said).fingerprint == before.fingerprint and len(said) == 1


def test_the_average_of_the_encoder_is_fixed_once_it_has_embedded(trained, writable_root, workdirs):
    """`sample.ema_decay` is free to change afterwards: it chooses the averages of prior and decoder alone."""
    params = trained.params["encoder"]
    averages = {"0.5": jax.tree.map(lambda x: 1.5 * x, params), "0.999": params}
    first = embed(trained, writable_root, averages, [], decay=0.999)
    assert first.decay == 0.999
    later = embed(trained, writable_root, averages, [], decay=0.5)
    assert (later.fingerprint, later.decay) == (first.fingerprint, 0.999)

    Workdir(writable_root).embeddings.unlink()  # then what the prior was trained on decides
    with Checkpoints(Workdir(writable_root).checkpoints("prior")) as checkpoints:
        checkpoints.save(4, {"w": np.ones(1)}, {"depends": first.fingerprint})
    assert embed(trained, writable_root, averages, [], decay=0.5).fingerprint == first.fingerprint

    averages["0.999"] = jax.tree.map(lambda x: 2 * x, params)  # the encoder was trained on: nothing is fixed any more
    assert embed(trained, writable_root, averages, [], decay=0.5).decay == 0.5


def spoil_unreadable(folder):
    (folder / "ID_2" / "walk_3.png").write_bytes(b"no image")


def spoil_size(folder):
    Image.new("RGB", (20, 16), (0, 0, 143)).save(folder / "ID_2" / "walk_3.png")


def spoil_colours(folder):
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "ID_2" / "walk_3.png")


def write_recordings(folder, windows):
    for user in ("ID_1", "ID_2"):
        (folder / user).mkdir(parents=True, exist_ok=True)
        for i in range(windows):
            level = np.linspace(0, 1, 256).reshape(16, 16)
            image = Image.fromarray(colormap.to_rgb(np.roll(level, i, 1), "jet"))
            image.save(folder / user / f"walk_{i + 1}.png")


def test_the_same_command_takes_the_recordings_that_were_missing(tmp_path):
    config, workdir = tiny.get_config(), Workdir(tmp_path / "run")
    config.data.update(kind="folder", path=str(tmp_path / "recordings"))
    write_recordings(tmp_path / "recordings", 4)
    with pytest.raises(InputError, match=r"too few windows .*: record more"):
        training_data.write_prepared_data(config, workdir)
    write_recordings(tmp_path / "recordings", 40)
    training_data.write_prepared_data(config, workdir)
    assert workdir.split.is_file()


@pytest.mark.parametrize("spoil", [spoil_unreadable, spoil_size, spoil_colours])
def test_a_bad_image_is_named_and_nothing_is_left_behind(tmp_path, spoil):
    write_recordings(tmp_path / "recordings", 4)
    spoil(tmp_path / "recordings")
    config = tiny.get_config()
    config.data.update(kind="folder", path=str(tmp_path / "recordings"))
    with pytest.raises(InputError, match=r"ID_2/walk_3\.png") as error:
        train_loop.train(config, tmp_path / "runs" / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()

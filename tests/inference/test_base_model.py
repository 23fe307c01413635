"""The base model knows the people whose windows it is given, on the axes of these files, and nobody else."""

import numpy as np
import pytest
from PIL import Image

from configs import base
from mdiff_jax import load_base
from mdiff_jax.config import to_plain_dict
from mdiff_jax.data import simulated
from mdiff_jax.data.export import write_window
from mdiff_jax.inference import base_model, exported, people
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.training import enrollment
from mdiff_jax.validation import flatten


@pytest.fixture(scope="module", params=[True, False], ids=["row", "no row"])
def nobody(request, workdirs, tmp_path_factory):
    """A model of windows at their own frames that knows people by references, exported without its users; their rows
    were trained, or not.
    """
    root = tmp_path_factory.mktemp("references")
    people = {"references": True, "user_row": request.param}
    model = load(workdirs.make_workdir(root / "run", native=True, people=people))
    exported.export_model(exported.without_users(model), root / "model")
    return load(root / "model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Windows of two people as image files of 64 rows and 192 columns, 6 and 7 of them."""
    path = tmp_path_factory.mktemp("people")
    options = dict(num_users=2, recordings_per_user=1, windows_per_recording=7, difficulty=1.0, nuisances=0.0, seed=0)
    metadata = {"original_size": (64, 192), "colormap": "jet", "native": True}
    metadata |= {"file_format": {"suffix": "png", "quantization": [], "subsampling": "", "soft_edges": False}}
    metadata["file_format"] |= {"row_blocks": False, "lowest_level": 0.0}
    for example in simulated.read_examples((64, 64), options, native=True):
        name = example.source.file.replace("/walk", "_walk")
        if not name.startswith("walker_01_walk_01_0006"):
            write_window(path / example.source.user / f"{name}.png", example.window, example.frames, metadata)
    return path


@pytest.mark.thorough
def test_people_are_known_by_their_windows_and_drawn_on_the_axes_of_their_files(nobody, folder):
    model = base_model.know_people(nobody, folder)
    assert tuple(model.enrolled) == ("walker_01", "walker_02") and model.users == ()
    windows = model.sample(["walker_02", "walker_01"], 1)
    assert windows.shape == (2, 64, 192)
    alone = base_model.know_people(nobody, folder / "walker_01")
    assert tuple(alone.enrolled) == ("walker_01",)
    np.testing.assert_allclose(alone.sample(["walker_01"], 1)[0], windows[1], atol=1e-4)
    with pytest.raises(InputError, match="unknown"):
        model.sample(["walker_03"], 1)


def test_no_more_windows_are_told_than_in_training(nobody, folder):
    config = nobody.config.copy_and_resolve_references()
    config.people.max_references = 5
    few = base_model.know_people(nobody._replace(config=config), folder)
    assert few.enrolled["walker_02"].person[-1] == pytest.approx(np.log(5 / people.USUAL_COUNT))


def test_too_few_windows_of_a_person_are_refused(nobody, folder, tmp_path):
    (tmp_path / "few").mkdir()
    for path in sorted((folder / "walker_01").iterdir())[:4]:
        Image.open(path).save(tmp_path / "few" / path.name)
    with pytest.raises(InputError, match="4 windows of 'few': give 5 at least"):
        base_model.know_people(nobody, tmp_path / "few")


def test_users_known_by_rows_alone_are_not_left_out(trained):
    with pytest.raises(InputError, match="by rows alone"):
        exported.without_users(trained)


def test_the_shipped_model_is_what_its_configuration_trains():
    model, expected = load_base(), flatten(to_plain_dict(base.get_config()))
    found = flatten(to_plain_dict(model.config))
    trained = ("data.", "encoder.", "prior.", "decoder.", "people.", "sample.", "ema_decays", "seed")
    assert {k: v for k, v in found.items() if k.startswith(trained)} == {
        k: v for k, v in expected.items() if k.startswith(trained)
    }
    assert not model.users and not model.enrolled
    assert sum(path.stat().st_size for path in base_model.FOLDER.iterdir()) <= 10e6


def test_people_are_enrolled_in_a_folder_of_the_base_model_and_once_each(nobody, folder, tmp_path, monkeypatch):
    """The second call fits nobody again; another folder in its place is refused."""
    exported.export_model(nobody, tmp_path / "base")
    monkeypatch.setattr(base_model, "FOLDER", tmp_path / "base")
    names = enrollment.enroll_in_base(tmp_path / "people", folder)
    assert names == ["walker_01", "walker_02"] == [*load(tmp_path / "people").enrolled]
    drawn, like = load(tmp_path / "people"), load_base(folder)
    np.testing.assert_allclose(drawn.sample(names, 1), like.sample(names, 1), atol=1e-4)
    (tmp_path / "people" / "enrolled" / "walker_02.npz").unlink()
    fitted, kept = [], []
    monkeypatch.setattr(enrollment, "finetune_adapter", lambda model, adapter, x, _: fitted.append(len(x)) or adapter)
    monkeypatch.setattr(enrollment.compilation_cache, "enable", kept.append)
    enrollment.enroll_in_base(tmp_path / "people", folder, finetune=True)
    assert kept == [tmp_path / "people" / "cache"], "programs for the next person"
    assert fitted == [7] and [*load(tmp_path / "people").enrolled] == names
    other = nobody._replace(step=nobody.step + 1)
    exported.export_model(other, tmp_path / "other")
    with pytest.raises(InputError, match="is not of the base model: give a new folder"):
        enrollment.enroll_in_base(tmp_path / "other", folder)

"""Laws of enrollment, on networks whose parameters are random."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mdiff_jax import load
from mdiff_jax.config import EnrollmentSettings, from_plain_dict, to_plain_dict
from mdiff_jax.inference import people, sample_writer, sampling_jobs, user_adapters, user_windows
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import write_json
from mdiff_jax.training import enrollment, losses


@pytest.fixture(scope="module")
def enrolled_root(root, windows, tmp_path_factory):
    """A copy of the working directory to which the stranger was added as NEW."""
    copy = shutil.copytree(root, tmp_path_factory.mktemp("copy"), dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config["enrollment"]["steps"] = 20
    write_json(copy / "config.json", config)
    enrollment.enroll(copy, "NEW", windows)
    return copy


@pytest.fixture(scope="module")
def enrolled(enrolled_root):
    return load(enrolled_root)


def test_a_new_user_is_sampled_like_any_other_and_nobody_else_changes(trained, enrolled, tmp_path):
    both = enrolled.sample(["walker_02", "NEW"], 2, 0)
    np.testing.assert_allclose(both[:2], trained.sample(["walker_02"], 2, 0), atol=1e-4)
    assert np.abs(both[2:] - both[:2]).max() > 1e-3
    files = sample_writer.write_samples(enrolled, ["NEW"], 2, 0, tmp_path)
    assert files[0].parent.name == "NEW" and (tmp_path / "grid.png").is_file()
    assert enrolled.users == trained.users


def test_every_block_of_the_decoder_has_modulations_for_a_new_user(enrolled):
    modulations = enrolled.enrolled["NEW"].modulations
    assert modulations.keys() == {name for name, p in enrolled.params["decoder"].items() if "modulation" in p}
    assert max(np.abs(x).max() for x in modulations.values()) > 1e-3


@pytest.mark.parametrize("trained_with", [4, 256])
def test_noise_levels_spread_over_the_batch_of_enrollment_whatever_that_of_training(trained, monkeypatch, trained_with):
    config = from_plain_dict(to_plain_dict(trained.config))
    config.prior.batch_size, config.enrollment.prior_batch_size = trained_with, 16
    seen = []
    monkeypatch.setattr(losses.gaussian, "q_sample", lambda schedule, x0, t, noise: seen.append(t) or x0)
    model = trained._replace(config=config)
    data = {"embedding": jnp.zeros((5, config.encoder.embedding_dim))}
    enrollment.adapter_loss(model, "prior", model.params["prior"], {}, data, jax.random.key(0), 16)
    sixteenths = np.sort(16 * np.asarray(seen[0]) // config.prior.timesteps)
    np.testing.assert_array_equal(sixteenths, np.arange(16))


def test_the_optimum_is_found_from_the_mean_of_the_users():
    """Where the loss is least at one of the rows."""
    table = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    row_of = lambda free: jax.nn.softmax(free["weights"]) @ table + free["deviation"]  # noqa: E731
    objective = lambda target, free, key: (jnp.sum((row_of(free) - target["row"]) ** 2), 0.0)  # noqa: E731
    free = enrollment.optimize_adapter(
        objective,
        {"row": table[2]},
        {"weights": jnp.zeros(4), "deviation": jnp.zeros(6)},
        "prior",
        enrollment.FitSettings(400, 0.1, 0),
    )
    np.testing.assert_allclose(row_of(free), table[2], atol=0.1)


def test_enrollment_refuses_names_that_are_taken_and_too_few_windows(enrolled_root, windows, tmp_path):
    for name, says in (
        ("walker_01", "exists already"),
        ("new", "exists already"),
        ("a/b", "cannot be"),
        ("all", "cannot be"),
    ):
        with pytest.raises(InputError, match=says):
            enrollment.enroll(enrolled_root, name, windows)
    with pytest.raises(InputError, match="holds 1 window: give 5 to 20"):
        enrollment.enroll(enrolled_root, "OTHER", next(windows.glob("*.png")))
    Image.new("RGB", (64, 32), (0, 0, 143)).save(tmp_path / "small.png")
    with pytest.raises(InputError, match="is 64x32"):
        enrollment.enroll(enrolled_root, "OTHER", tmp_path)


def test_ctrl_c_while_the_adapter_is_written_leaves_nothing(writable_root, windows, monkeypatch):
    adapter = user_adapters.UserAdapter(np.zeros(8), np.zeros(8), {}, np.zeros((1, 16, 16, 1)), np.array([16]), (3, 3))

    def interrupted(path, **arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(enrollment, "fit_adapter", lambda *_: adapter)
    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enrollment.enroll(writable_root, "NEW", windows)
    assert not list((writable_root / "enrolled").iterdir()) and not load(writable_root).enrolled


def test_a_working_directory_from_before_these_keys_is_enrolled_in_with_their_defaults(root):
    config = json.loads((root / "config.json").read_text())
    del config["enrollment"]
    assert from_plain_dict(config).enrollment.to_dict() == EnrollmentSettings()._asdict()


@pytest.fixture(scope="module")
def referenced_root(reference_root, windows, tmp_path_factory):
    """A copy of the working directory whose networks know people by references, with the stranger enrolled as NEW."""
    copy = shutil.copytree(reference_root, tmp_path_factory.mktemp("referenced"), dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(enrollment, "optimize_adapter", lambda *_: pytest.fail("it is optimized"))
        enrollment.enroll(copy, "NEW", windows)
    return copy


def test_with_references_a_new_user_is_its_windows_and_nothing_is_fitted(referenced_root, windows):
    model = load(referenced_root)
    given = user_windows.read_user_windows(model, windows, "NEW")
    expected = people.describe_person(model.embed(given.windows, given.frames))
    np.testing.assert_allclose(model.enrolled["NEW"].person, expected, atol=1e-5)
    other = model.enrolled["NEW"]._replace(person=expected + 1)
    changed = model._replace(enrolled={"NEW": other})
    users = ["walker_02", "NEW"]
    both = model.sample(users, 1), changed.sample(users, 1)
    np.testing.assert_array_equal(both[0][0], both[1][0])
    assert np.abs(both[0][1] - both[1][1]).max() > 1e-3
    assert user_adapters.adapter_digest(other) != user_adapters.adapter_digest(model.enrolled["NEW"])


def test_with_references_their_range_is_that_of_windows_to_enroll(reference_root, windows):
    with pytest.raises(InputError, match="holds 1 window: give 5 to 20"):
        enrollment.enroll(reference_root, "OTHER", next(windows.glob("*.png")))


def test_files_of_the_other_kind_of_enrolled_user_are_refused_in_one_line(referenced_root, enrolled_root, tmp_path):
    for kind, other in ((referenced_root, enrolled_root), (enrolled_root, referenced_root)):
        copy = shutil.copytree(kind, tmp_path / kind.name)
        shutil.copy(other / "enrolled" / "NEW.npz", copy / "enrolled")
        with pytest.raises(InputError, match=r"NEW\.npz cannot be read .*enroll that user again$") as error:
            load(copy)
        assert "\n" not in str(error.value)


def test_a_user_enrolled_before_there_were_references_is_still_known(enrolled_root):
    """Its file says nothing of them."""
    with np.load(enrolled_root / "enrolled" / "NEW.npz") as file:
        assert "person" not in file.files
    assert not load(enrolled_root).enrolled["NEW"].person.size


def test_what_held_out_windows_like_less_is_not_kept():
    """Of a minimum at 1, when the held-out loss has its own at 0.5, and when at 0."""
    toward = lambda target: lambda params, free, key: ((free["x"] - target) ** 2, 0.0)  # noqa: E731
    settings, start = enrollment.FitSettings(100, 0.03, 0), {"x": jnp.zeros(())}
    for target, expected in ((1.0, 1.0), (0.5, 0.5), (0.0, 0.0), (-1.0, 0.0)):
        free = enrollment.optimize_adapter(toward(1.0), {}, start, "prior", settings, toward(target))
        assert float(free["x"]) == pytest.approx(expected, abs=0.2 if target == 0.5 else 0.05)


@pytest.mark.thorough
@pytest.mark.parametrize("user_row", [pytest.param(True, marks=pytest.mark.slow), False])
def test_fine_tuning_changes_its_user_and_nobody_else(workdirs, windows, tmp_path, user_row):
    workdirs.make_workdir(tmp_path, people={"references": True, "user_row": user_row})
    config = json.loads((tmp_path / "config.json").read_text())
    config["enrollment"] |= {"update_steps": 10, "update_learning_rate": 0.03}
    write_json(tmp_path / "config.json", config)
    enrollment.enroll(tmp_path, "PLAIN", windows)
    before = load(tmp_path)
    enrollment.enroll(tmp_path, "TUNED", windows, finetune=True)
    after = load(tmp_path)
    plain, tuned = after.enrolled["PLAIN"], after.enrolled["TUNED"]
    np.testing.assert_array_equal(plain.person, tuned.person)
    assert tuned.updates.keys() == {"prior", "decoder"} and not plain.updates
    users = ["walker_01", "walker_02", "PLAIN"]
    np.testing.assert_allclose(before.sample(users, 1), after.sample(users, 1), atol=1e-5)
    swapped = after.with_users({"PLAIN": tuned, "TUNED": plain})
    assert np.abs(swapped.sample(["PLAIN"], 1) - after.sample(["PLAIN"], 1)).max() > 1e-3
    together = after.sample(["walker_01", "TUNED", "PLAIN"], 2)
    for i, user in enumerate(("walker_01", "TUNED", "PLAIN")):
        np.testing.assert_allclose(together[2 * i : 2 * i + 2], after.sample([user], 2), atol=1e-5)
    with pytest.raises(InputError, match="'TUNED' has weights of its own"):
        sampling_jobs.interpolate(after, ("walker_01", "TUNED"), 3, 1, 0)


def test_a_user_who_is_fitted_anyway_is_not_fine_tuned(root, windows):
    with pytest.raises(InputError, match="remove --finetune"):
        enrollment.enroll(root, "OTHER", windows, finetune=True)

"""Laws of the windows that people are known by in training."""

import dataclasses

import numpy as np
import pytest

from mdiff_jax.config import PeopleSettings, from_plain_dict, to_plain_dict
from mdiff_jax.inference import people
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir
from mdiff_jax.training import references, training_data

GAP = 2


def make_dataset(trained, recordings, indices, user_ids):
    return dataclasses.replace(
        trained.dataset,
        users=tuple(f"ID_{i}" for i in range(max(user_ids) + 1)),
        files=tuple(map(str, range(len(user_ids)))),
        frames=np.full(len(user_ids), 16, np.int32),
        user_ids=np.array(user_ids, np.int32),
        recordings=tuple(recordings),
        indices=np.array(indices, np.int32),
    )


def make_pool(dataset, train, low=2, high=6, seed=5):
    z = np.random.default_rng(0).normal(size=(len(dataset.user_ids), 3)).astype(np.float32)
    settings = PeopleSettings(True, low, high)
    return references.make_pool(dataset, np.array(train), z, gap=GAP, settings=settings, seed=seed)


@pytest.fixture
def dataset(trained):
    """Two users with four recordings of six windows each."""
    walks = [f"{case}/1" for case in "abcd" for _ in range(6)]
    return make_dataset(trained, walks * 2, [*range(6)] * 8, [0] * 24 + [1] * 24)


def drawn(pool, row, examples=200):
    chosen, known = references.draw_references(pool, np.full(examples, row), np.arange(examples))
    return [mine[counts] for mine, counts in zip(chosen, known, strict=True)]


@pytest.mark.parametrize("row", [0, 23, 30])
def test_references_are_training_windows_of_the_person_from_other_recordings(dataset, row):
    train = [i for i in range(48) if i % 6 != 5]  # row 23 is a window of another part
    pool, seen = make_pool(dataset, train), []
    for mine in drawn(pool, row):
        assert set(mine) <= set(train) and len(set(mine)) == len(mine)
        assert (dataset.user_ids[mine] == dataset.user_ids[row]).all()
        assert not {dataset.recordings[i] for i in mine} & {dataset.recordings[row]}
        seen += [*mine]
    assert len(set(seen)) == 15, "each of them, now and then"


def test_their_number_is_even_from_fewest_to_most_or_as_many_as_there_are(dataset):
    counts = np.bincount([len(mine) for mine in drawn(make_pool(dataset, range(48)), 3, 1000)], minlength=7)
    assert counts[:2].sum() == 0 and (np.abs(counts[2:] - 200) < 50).all()
    few = [0, 1, 6, 7, 8, *range(24, 48)]  # three of other recordings than that of window 0
    assert {len(mine) for mine in drawn(make_pool(dataset, few), 0)} == {2, 3}
    assert {len(mine) for mine in drawn(make_pool(dataset, few, 5, 20), 0)} == {3}


def test_windows_that_share_pixels_with_the_target_are_the_last_resort(trained):
    one = make_dataset(trained, ["a/1"] * 12, range(12), [0] * 12)
    for row in (0, 6):
        assert {i for mine in drawn(make_pool(one, range(12)), row) for i in mine} == {
            i for i in range(12) if abs(i - row) > GAP
        }
    near = make_dataset(trained, ["a/1", "a/1", "a/2", "a/2"], [0, 1, 3, 9], [0] * 4)  # a gap makes a new recording
    assert {i for mine in drawn(make_pool(near, range(4)), 1) for i in mine} == {3}, "2 is two windows later"
    assert {i for mine in drawn(make_pool(near, [0, 1, 2]), 1) for i in mine} == {0, 2}, "all are too near: any other"
    unknown = make_dataset(trained, ["a/1"] * 4, [-1] * 4, [0] * 4)
    assert {i for mine in drawn(make_pool(unknown, range(4)), 1) for i in mine} == {0, 2, 3}
    assert {i for mine in drawn(make_pool(unknown, [2]), 2) for i in mine} == {2}, "there is no other"


def test_a_draw_depends_on_seed_and_example_alone(dataset):
    pool, rows = make_pool(dataset, range(48)), np.arange(48)
    example = 1000 + np.arange(48)
    whole = references.draw_people(pool, rows, example)
    for part in (slice(5, 6), slice(40, 10, -3)):
        np.testing.assert_array_equal(references.draw_people(pool, rows[part], example[part]), whole[part])
    for other in (
        references.draw_people(pool, rows, example + 48),
        references.draw_people(make_pool(dataset, range(48), seed=6), rows, example),
    ):
        assert (np.abs(other - whole).max(axis=1) > 1e-3).mean() > 0.9


def batches(trained, root, part="train", name="prior", count=3, mark=None, **changes):
    config, workdir = from_plain_dict(to_plain_dict(trained.config)), Workdir(root)
    config.update_from_flattened_dict({"people.min_references": 2, "people.max_references": 4} | changes)
    data = training_data.prepare_data(config, workdir)
    z = np.random.default_rng(0).normal(size=(len(data.dataset), 4)).astype(np.float32)
    if mark:
        z[:, 0] = np.isin(np.arange(len(z)), data.rows[mark])
    embeddings = training_data.Embeddings(z, {}, "", 0.0)
    stream = training_data.make_batches(config, name, data, embeddings, part)
    found = [next(stream) for _ in range(count)]
    return {key: np.concatenate([batch[key] for batch in found]) for key in found[0]}


def test_batches_hold_who_a_user_is_and_are_the_same_besides(trained, root):
    for name in ("encoder", "prior", "decoder"):
        off, on = (
            batches(trained, root, name=name, count=1, **{"people.references": is_on}) for is_on in (False, True)
        )
        assert on.keys() - off.keys() == ({"person"} if name != "encoder" else set()) and "person" not in off
        for key, value in off.items():
            np.testing.assert_array_equal(on[key], value)
    assert on["person"].shape == (len(on["user"]), 9) and on["person"].dtype == np.float32
    assert np.isfinite(on["person"]).all()


def test_who_a_user_is_does_not_depend_on_the_size_of_batches(trained, root):
    settings = {"people.references": True}
    sixteens = batches(trained, root, **settings)
    fours = batches(trained, root, count=12, **settings, **{"prior.batch_size": 4})
    for key, value in sixteens.items():
        np.testing.assert_array_equal(fours[key], value)


def test_references_of_validation_windows_are_training_windows(trained, root):
    batch = batches(trained, root, "validation", mark="train", **{"people.references": True})
    np.testing.assert_array_equal(batch["embedding"][:, 0], 0.0)
    np.testing.assert_allclose(batch["person"][:, 0], 1.0, rtol=1e-6)


def test_users_are_told_after_training_by_numbers_that_they_were_told_by_in_training(trained, root):
    config = from_plain_dict(to_plain_dict(trained.config))
    config.people.update(references=True, min_references=2, max_references=3)
    data = training_data.prepare_data(config, Workdir(root))
    z = np.random.default_rng(0).normal(size=(len(data.dataset), 4)).astype(np.float32)
    constants = training_data.add_people(config, data, training_data.Embeddings(z, {"more": z}, "", 0.0)).constants
    assert constants["people"].shape == (2, 9) and constants["more"] is z
    np.testing.assert_allclose(constants["people"][:, -1], np.log(3 / people.USUAL_COUNT), rtol=1e-6)


def test_a_user_without_training_windows_is_refused_by_name(dataset):
    with pytest.raises(InputError, match="user 'ID_1' has no training window"):
        make_pool(dataset, range(20))

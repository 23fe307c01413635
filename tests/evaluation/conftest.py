"""A model of recordings whose windows keep their own frames."""

import pytest
import recordings

from mdiff_jax.data import export


@pytest.fixture(scope="module")
def native(trained, tmp_path_factory):
    """A model of recordings whose windows keep their own frames; `trained` lends what is not looked at."""
    folder = tmp_path_factory.mktemp("walkers") / "data"
    export.write_walkers(folder, "jpg", num_users=2, recordings_per_user=2, windows_per_recording=2, seed=0)
    cache = tmp_path_factory.mktemp("cache") / "data"
    dataset = recordings.prepare(folder, cache, image_size=(128, 96), native_frames=True)
    assert dataset.metadata["native"] and dataset.metadata["file_format"]["suffix"] == "jpg"
    config = trained.config.copy_and_resolve_references()
    config.data.update(kind="folder", path=str(folder))
    split = {name: list(dataset.files) for name in ("train", "test")}
    return trained._replace(users=dataset.users, enrolled={}, config=config, dataset=dataset, split=split)

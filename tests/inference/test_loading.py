"""Which checkpoints a model is read from."""

import shutil

import jax
import numpy as np

from mdiff_jax.inference import exported
from mdiff_jax.inference.loading import load
from mdiff_jax.runtime.workdir import Workdir

GUIDED = {"sample.guide": "early", "sample.cond_scale": 2.0, "sample.prior_cond_scale": 2.0}


def test_guidance_by_the_only_checkpoint_changes_nothing(root):
    guided, unguided = load(root, GUIDED), load(root, {"sample.cond_scale": 1.0, "sample.prior_cond_scale": 1.0})
    user = guided.users[:1]
    np.testing.assert_allclose(guided.sample(user, 1), unguided.sample(user, 1), atol=1e-4)


def test_guidance_leads_away_from_the_earliest_checkpoint(writable_root):
    """Which is here the same as the latest one, so that there is nothing to lead away from."""
    for name in ("prior", "decoder"):
        folder = Workdir(writable_root).checkpoints(name)
        shutil.copytree(folder / "3", folder / "1")
    guided, plain = (load(writable_root, settings) for settings in (GUIDED, {**GUIDED, "sample.guide": "null"}))
    assert guided.step == plain.step == 3 and not plain.weaker
    unguided = load(writable_root, {"sample.cond_scale": 1.0, "sample.prior_cond_scale": 1.0})
    user = plain.users[:1]
    np.testing.assert_allclose(guided.sample(user, 1), unguided.sample(user, 1), atol=1e-4)
    assert np.abs(plain.sample(user, 1) - unguided.sample(user, 1)).max() > 1e-3
    exported.export_model(guided, writable_root / "model")
    again = load(writable_root / "model")
    np.testing.assert_allclose(again.sample(user, 1), guided.sample(user, 1), atol=0.05)
    assert again.weaker and not load(writable_root / "model", {"sample.guide": "null"}).weaker
    for name in ("prior", "decoder"):
        weaker = guided._replace(weaker={**guided.weaker, name: jax.tree.map(lambda x: 0.5 * x, guided.weaker[name])})
        assert np.abs(weaker.sample(user, 1) - unguided.sample(user, 1)).max() > 1e-3, name

"""Laws of the adapters of enrolled users: their files, and what they do to the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.config import build_decoder, build_prior
from mdiff_jax.inference import user_adapters
from mdiff_jax.runtime.errors import InputError


def test_an_adapter_changes_its_user_and_nobody_else(trained):
    """A row of the table and modulations of zero make the new user a trained one; other modulations change the new
    user, and neither the trained users nor the null user.
    """
    params, x = trained.params["decoder"], trained.dataset.load(np.arange(3))
    network = build_decoder(trained.config, 2)
    biases = {name: p["modulation"]["bias"] for name, p in params.items() if "modulation" in p}
    row = user_adapters.append_user_rows({}, params["user"]["embedding"][:1])

    def output(push: float, *keep: bool) -> np.ndarray:
        blocks = {name: jnp.full((1, len(bias)), push) for name, bias in biases.items()}
        variables = {"params": params, "user_adapters": user_adapters.append_modulations(row, 2, blocks)}
        same = x[:1].repeat(3, 0), jnp.zeros(3), jnp.ones((3, 4))
        return np.asarray(network.apply(variables, *same, jnp.arange(3), np.array(keep, bool), jnp.full(3, 16)))

    np.testing.assert_allclose(output(0.0, 1, 1, 1)[0], output(0.0, 1, 1, 1)[2], atol=1e-5)
    still, pushed = output(0.0, 1, 1, 1), output(0.5, 1, 1, 1)
    np.testing.assert_allclose(still[:2], pushed[:2], atol=1e-5)
    assert np.abs(still[2] - pushed[2]).max() > 1e-2
    np.testing.assert_allclose(output(0.0, 1, 1, 0), output(0.5, 1, 1, 0), atol=1e-5)


def test_the_prior_looks_a_new_user_up_after_the_trained_ones_and_before_the_null_user(trained):
    params, network = trained.params["prior"], build_prior(trained.config, 2)
    rows = user_adapters.append_user_rows({}, params["user"]["embedding"][1:2])
    z, log_snr = jnp.ones((4, 4)), jnp.zeros(4)

    def output(variables, user: list[int], keep: list[bool]) -> np.ndarray:
        return np.asarray(network.apply(variables, z, log_snr, jnp.array(user), jnp.array(keep)))

    alone = output({"params": params}, [0, 1, 1, 0], [True, True, True, False])
    among = output({"params": params, "user_adapters": rows}, [0, 1, 2, 2], [True, True, True, False])
    np.testing.assert_allclose(alone, among, atol=1e-6)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3 and np.abs(alone[3] - alone[1]).max() > 1e-3


def test_an_adapter_shows_itself_in_a_line(enrolled):
    """Not as pages of numbers where a notebook shows `model.enrolled`."""
    text = repr(dict(enrolled.enrolled))
    assert f"{len(enrolled.enrolled['NEW'].windows)} windows" in text and len(text) < 100


def test_adapters_are_read_as_they_were_written(enrolled, tmp_path):
    adapter = enrolled.enrolled["NEW"]
    shapes = user_adapters.adapter_shapes(enrolled.params["prior"], enrolled.params["decoder"], (16, 16, 1))
    user_adapters.write_adapter(path := tmp_path / "NEW.npz", adapter)
    jax.tree.map(np.testing.assert_array_equal, user_adapters.read_adapter(path, shapes), adapter)
    user_adapters.write_adapter(path, adapter._replace(modulations={}))
    with pytest.raises(InputError, match=r"modulations.*enroll that user again"):
        user_adapters.read_adapter(path, shapes)


@pytest.mark.parametrize(
    "change",
    [
        {"prior": np.zeros(3)},
        {"decoder": np.zeros((8, 8))},
        {"windows": np.zeros((2, 9, 16, 1))},
        {"windows": np.zeros(3)},
        {"prior": np.full(8, np.nan)},
        {"prior": np.array(8 * [None])},
        {"steps": np.array(["a", "b"])},
        {"steps": np.zeros(3, int)},
        {"more": np.zeros(3)},
        {"modulations.down_9": np.zeros(3)},
    ],
)
def test_arrays_that_do_not_fit_the_networks_are_refused(enrolled, tmp_path, change):
    adapter = enrolled.enrolled["NEW"]
    shapes = user_adapters.adapter_shapes(enrolled.params["prior"], enrolled.params["decoder"], (16, 16, 1))
    user_adapters.write_adapter(path := tmp_path / "NEW.npz", adapter)
    with np.load(path) as file:
        arrays = {**file, **change}
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"NEW\.npz cannot be read .*enroll that user again$") as error:
        user_adapters.read_adapter(path, shapes)
    assert "\n" not in str(error.value)

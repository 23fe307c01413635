"""Laws of what is stored of an enrolled person and of what the networks are told of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.config import apply_function, build_decoder
from mdiff_jax.inference import user_adapters
from mdiff_jax.runtime.errors import InputError


def test_a_person_told_nothing_more_is_the_mean_of_users_and_blocks_hear_of_that_person_alone(trained):
    """Modulations of zero change nothing, others change the new person and neither users nor the null user."""
    params, config = trained.params["decoder"], trained.config
    denoise, x = apply_function(build_decoder(config, 3)), trained.dataset.load(np.arange(3))
    biases = {name: p["modulation"]["bias"] for name, p in params.items() if "modulation" in p}
    more = user_adapters.append_user_rows(params, params["user"]["embedding"][:1])

    def output(push: float, *keep: bool) -> np.ndarray:
        blocks = {name: jnp.full((1, len(bias)), push) for name, bias in biases.items()}
        told = user_adapters.append_modulations(more, 2, blocks)
        same = x[:1].repeat(3, 0), jnp.zeros(3), jnp.ones((3, 4))
        return np.asarray(denoise(told, *same, jnp.arange(3), np.array(keep, bool)))

    np.testing.assert_allclose(output(0.0, 1, 1, 1)[0], output(0.0, 1, 1, 1)[2], atol=1e-5)
    still, pushed = output(0.0, 1, 1, 1), output(0.5, 1, 1, 1)
    np.testing.assert_allclose(still[:2], pushed[:2], atol=1e-5)
    assert np.abs(still[2] - pushed[2]).max() > 1e-2
    np.testing.assert_allclose(output(0.0, 1, 1, 0), output(0.5, 1, 1, 0), atol=1e-5)


def test_people_are_read_as_they_were_written(enrolled, tmp_path):
    person = enrolled.enrolled["NEW"]
    user_adapters.write_adapter(tmp_path / "NEW.npz", person)
    jax.tree.map(np.testing.assert_array_equal, user_adapters.read_adapter(tmp_path / "NEW.npz"), person)
    user_adapters.write_adapter(tmp_path / "NEW.npz", person._replace(modulations={}))
    with pytest.raises(InputError, match=r"no modulations.*enrol that person again"):
        user_adapters.read_adapter(tmp_path / "NEW.npz")

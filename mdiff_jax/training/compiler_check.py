"""What the compiler makes of a function against single operations: a version of it can compute wrong numbers."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mdiff_jax.config import STAGES, condition_size, parameter_shapes, person_size, spectrogram_shape
from mdiff_jax.inference import pipeline
from mdiff_jax.inference.denoisers import decoder_sampler, prior_sampler
from mdiff_jax.metrics import cnn_classifier
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.parallel import SINGLE_DEVICE
from mdiff_jax.training import stages

USERS = 6
TOLERANCE = 1e-4  # single operations and fused ones differ by about 1e-6
ROWS = (32_768, 32_769, 40_000, 100_000)  # jaxlib 0.10.2 is wrong in the two in the middle


class Case(NamedTuple):
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def small_config() -> ConfigDict:
    """Returns gait_cpu at sizes that take seconds, one operation at a time."""
    config = load_config("gait_cpu")
    config.data.image_size = (8, 8)
    config.encoder.update(embedding_dim=8, channels=(8,), blocks=1, patch=(2, 2), batch_size=4)
    config.prior.update(width=8, depth=1, heads=2, batch_size=4, sample_timesteps=3)
    config.decoder.update(
        channels=(8,), blocks=1, attention=(True,), patch=(2, 2), cond_width=8, head_width=8, batch_size=4
    )
    config.decoder.sample_timesteps = 3
    return config


def draw_parameters(config: ConfigDict, name: str) -> Any:
    """Random ones, with none at zero, so that every path carries a signal."""
    rng = np.random.default_rng(1)

    def draw(path: tuple, x: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = np.prod(x.shape[:-1]) if path[-1].key == "kernel" else 10.0
        return ((path[-1].key == "scale") + rng.normal(0, fan_in**-0.5, x.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, parameter_shapes(config, name, USERS))


def make_cases(config: ConfigDict) -> Iterator[Case]:
    """Losses with gradients of the three stages and of the convolutional judge, windows by DDIM and DPM-Solver++."""
    rng, shape = np.random.default_rng(0), spectrogram_shape(config)
    draw = lambda *size: np.asarray(rng.normal(size=size), np.float32)  # noqa: E731
    params = {name: draw_parameters(config, name) for name in STAGES}
    for name in STAGES:
        size = config[name].batch_size
        batch = {
            "spectrogram": np.tanh(draw(size, *shape)),
            "frames": np.full(size, shape[1]),
            "embedding": draw(size, condition_size(config)),
            "user": np.arange(size) % USERS,
            "example": np.arange(size),
            "person": draw(size, person_size(config)),
        }
        loss = stages.make_parameter_loss(config, name, USERS)
        function = jax.value_and_grad(lambda p, b, k, loss=loss: loss(p, b, k, SINGLE_DEVICE)[0])
        yield Case(f"{name} loss and gradient", function, (params[name], batch, jax.random.key(2)))
    yield Case("judge", *make_judge(np.tanh(draw(32, *shape[:2]))))
    for method in ("ddim", "dpmpp_2m"):
        config.sample.sampler = method
        sample = pipeline.make_window_sampler(prior_sampler(config, USERS), decoder_sampler(config, USERS))
        people = draw(USERS, person_size(config))
        requests = [pipeline.SampleRequest(f"user_{i}", i, 0, {"person": people[i]}) for i in range(USERS)]
        variables = {name: {"params": params[name]} for name in ("prior", "decoder")}
        yield Case(method, sample, (variables, pipeline.make_batch(requests, seed=0)))


def make_judge(windows: np.ndarray) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    network, labels = cnn_classifier.Network(USERS), np.arange(len(windows)) % USERS
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(network.init, jax.random.key(0), windows)
    params = jax.tree.map(lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), shapes)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        logits, _ = network.apply(params, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    return jax.value_and_grad(loss), (params, jnp.asarray(windows))


# ----------------------------------------------------------------------------- differences


def squares_of_rows(rows: int) -> float:
    """Returns the difference from float64 NumPy of the function of jax-ml/jax#39103, over `rows` rows."""
    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    compiled = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(x)
    return difference(compiled, (x.astype(np.float64) ** 2).sum(1))


def check(only: Collection[str] = ()) -> Iterator[tuple[str, float]]:
    """Yields case and difference, which is rounding below TOLERANCE. Cases are chosen by their first word."""
    if not only or "rows" in only:
        for rows in ROWS:
            yield f"rows, {rows}", squares_of_rows(rows)
    for case in make_cases(small_config()):
        if not only or case.name.split()[0] in only:
            compiled = jax.jit(case.function)(*case.arguments)
            with jax.disable_jit():
                yield case.name, largest_difference(compiled, case.function(*case.arguments))


def difference(a: Any, b: Any) -> float:
    """Returns the largest difference of a value over the largest value; infinite where one is not finite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    size = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-6)
    return float(np.abs(a - b).max(initial=0.0) / size) if np.isfinite(a - b).all() else np.inf


def largest_difference(a: Any, b: Any) -> float:
    """Returns the same of two trees: that of the leaf where it is largest."""
    return max(jax.tree.leaves(jax.tree.map(difference, a, b)))

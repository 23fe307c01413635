"""Laws of the losses: what they are least at, and that they do not depend on how a batch is laid out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdiff_jax.diffusion import schedules
from mdiff_jax.inference.denoisers import DenoiserSpec
from mdiff_jax.models.layers import NO_ROW
from mdiff_jax.runtime import parallel, prng
from mdiff_jax.training import augmentation, losses

SCHEDULE = schedules.cosine(100)
B = 8


def batch(dim=4):
    k1, k2 = jax.random.split(jax.random.key(3))
    return {
        "spectrogram": jnp.tanh(jax.random.normal(k1, (B, 8, 8, 1))),
        "embedding": jax.random.normal(k2, (B, dim)),
        "frames": jnp.full(B, 8),
        "user": jnp.arange(B) % 3,
        "example": 16 + jnp.arange(B),
    }


def part(b, rows):
    return {name: value[rows] for name, value in b.items()}


def prior_loss(network, **changes):
    options = dict(schedule=SCHEDULE, self_condition=False, batch_size=B, cond_drop_prob=0.5) | changes
    schedule, self_condition = options.pop("schedule"), options.pop("self_condition")
    denoiser = DenoiserSpec(network, schedule, "x0", (4,), self_condition=self_condition)
    return functools.partial(losses.prior_loss, denoiser=denoiser, settings=losses.DenoisingLossSettings(**options))


def decoder_loss(network, **changes):
    options = dict(prediction="v", weighting="plain", cond_drop_prob=0.5, conditioning_noise=0.5) | changes
    denoiser = DenoiserSpec(network, SCHEDULE, options.pop("prediction"), (8, 8, 1))
    settings = losses.DenoisingLossSettings(batch_size=B, **options)
    return functools.partial(losses.decoder_loss, denoiser=denoiser, settings=settings)


def test_contrastive_loss_is_least_when_users_are_apart():
    user = jnp.array([0, 0, 1, 1])
    same = jnp.eye(4, dtype=bool)
    apart = jnp.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    mixed = apart[jnp.array([0, 2, 1, 3])]
    loss = [float(losses.supervised_contrastive_loss(z, user, z, user, same, 0.1)) for z in (apart, mixed)]
    assert loss[0] == pytest.approx(0.0, abs=1e-6) and loss[1] > 5


def test_contrastive_loss_by_hand():
    """Three of one user, one of another: L_out of Khosla et al. written out."""
    z = np.array([[1.0, 0], [0.6, 0.8], [0, 1.0], [-1.0, 0]])
    user = np.array([0, 0, 0, 1])
    expected = []
    for i in range(4):
        others = [j for j in range(4) if j != i]
        total = np.log(sum(np.exp(z[i] @ z[j] / 0.5) for j in others))
        positive = [z[i] @ z[j] / 0.5 - total for j in others if user[j] == user[i]]
        expected.append(-np.mean(positive) if positive else 0.0)
    got = losses.supervised_contrastive_loss(
        jnp.array(z), jnp.array(user), jnp.array(z), jnp.array(user), jnp.eye(4, dtype=bool), 0.5
    )
    assert float(got) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("make", [prior_loss, decoder_loss])
def test_loss_of_a_batch_is_the_mean_over_its_parts(make):
    """So the number of devices changes nothing: noise, timesteps and dropping go by global example."""

    def network(params, x, *rest):
        keep = rest[-2]
        return params * x * jnp.where(keep, 1.0, 0.5).reshape((-1,) + (1,) * (x.ndim - 1))

    def loss(b):
        return float(make(network)(jnp.float32(0.7), b, jax.random.key(1), parallel.SINGLE_DEVICE)[0])

    halves = [loss(part(batch(), rows)) for rows in (slice(4), slice(4, 8))]
    assert loss(batch()) == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_the_loss_of_a_network_hardly_knows_the_number_of_timesteps():
    """It sees the log-SNR, so T may change in mid-training: stratified over all of T, the mean loss stays."""
    rng, size = np.random.default_rng(0), 2000
    b = {
        "embedding": rng.normal(size=(size, 4)).astype(np.float32),
        "user": np.zeros(size, np.int32),
        "example": np.arange(size, dtype=np.int32),
    }

    def network(params, z, log_snr, *rest):  # what is best for unit normal data, and a little off
        return 0.9 * z * jnp.sqrt(jax.nn.sigmoid(log_snr))[:, None]

    values = []
    for timesteps in (100, 250, 1000):
        loss = prior_loss(network, schedule=schedules.cosine(timesteps), batch_size=size, cond_drop_prob=0.0)
        values.append(float(loss(None, b, jax.random.key(0), parallel.SINGLE_DEVICE)[0]))
    np.testing.assert_allclose(values, values[-1], rtol=0.03)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_decoder_loss_is_zero_for_the_oracle(prediction):
    """A network that knows x0 says the target exactly, whatever the parametrisation."""
    b = batch()

    def oracle(params, x_t, log_snr, z, user, keep, frames):
        alpha = jnp.sqrt(jax.nn.sigmoid(log_snr))[:, None, None, None]
        sigma = jnp.sqrt(jax.nn.sigmoid(-log_snr))[:, None, None, None]
        noise = (x_t - alpha * b["spectrogram"]) / sigma
        return {"eps": noise, "x0": b["spectrogram"], "v": alpha * noise - sigma * b["spectrogram"]}[prediction]

    loss, metrics = decoder_loss(oracle, prediction=prediction)(None, b, jax.random.key(0), parallel.SINGLE_DEVICE)
    assert float(loss) < 1e-6
    zero, _ = decoder_loss(lambda p, x, *rest: jnp.zeros_like(x), prediction=prediction)(
        None, b, jax.random.key(0), parallel.SINGLE_DEVICE
    )
    assert float(zero) > 0.05
    assert sum(float(metrics[f"loss_t{q}"]) for q in range(4)) / 4 == pytest.approx(float(loss), abs=1e-6)


def test_what_lies_behind_the_frames_of_a_window_does_not_count():
    b = batch() | {"frames": jnp.array([3, 4, 5, 6, 7, 8, 3, 5])}
    behind = (jnp.arange(8) >= b["frames"][:, None])[:, None, :, None]

    def loss(network, x):
        told = b | {"spectrogram": x}
        return float(decoder_loss(network)(None, told, jax.random.key(0), parallel.SINGLE_DEVICE)[0])

    one, other = (lambda p, x, *rest, v=v: jnp.where(behind, v, 0.5) * jnp.ones_like(x) for v in (0.0, 9.0))
    assert loss(one, b["spectrogram"]) == pytest.approx(loss(other, b["spectrogram"]), rel=1e-6)
    assert loss(one, b["spectrogram"]) == pytest.approx(loss(one, jnp.where(behind, 1.0, b["spectrogram"])), rel=1e-6)


def test_the_number_of_frames_that_the_decoder_is_told_is_never_blurred():
    seen = []
    network = lambda p, x, s, z, *rest: seen.append(z) or jnp.zeros_like(x)  # noqa: E731
    denoiser = DenoiserSpec(network, SCHEDULE, "v", (8, 8, 1), native_frames=True)
    settings = losses.DenoisingLossSettings(batch_size=B, cond_drop_prob=0.0, conditioning_noise=1.0)
    losses.decoder_loss(None, batch(), jax.random.key(0), parallel.SINGLE_DEVICE, denoiser=denoiser, settings=settings)
    np.testing.assert_array_equal(seen[0][:, -1], batch()["embedding"][:, -1])
    assert (seen[0][:, :-1] != batch()["embedding"][:, :-1]).all()


def test_user_is_dropped_as_often_as_asked():
    seen = []
    loss = decoder_loss(lambda p, x, s, z, user, keep, n: seen.append(keep) or jnp.zeros_like(x), cond_drop_prob=0.25)
    for i in range(100):
        loss(None, batch() | {"example": jnp.arange(B) + B * i}, jax.random.key(0), parallel.SINGLE_DEVICE)
    assert np.mean(np.stack(seen)) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("make", [prior_loss, decoder_loss])
def test_rows_are_dropped_as_often_as_asked_and_nothing_else_is_drawn_differently(make):
    """Only where a batch says who a user is; that is then the network's last input."""
    calls, place = [], 1 if make is prior_loss else 2  # of the user among the conditions
    person = jnp.arange(2.0 * B).reshape(B, 2)

    def dropped(more, share):
        calls.clear()
        loss, values = make(lambda p, x, *rest: calls.append(rest) or 0.5 * x, row_drop_prob=share), []
        for i in range(40):
            b = batch() | more | {"example": jnp.arange(B) + B * i}
            values.append(float(loss(None, b, jax.random.key(0), parallel.SINGLE_DEVICE)[0]))
        users = np.stack([rest[place] for rest in calls])
        assert ((users == np.asarray(batch()["user"])) | (users == NO_ROW)).all()
        return np.mean(users == NO_ROW), values, calls[0]

    plain, told, never = dropped({}, 0.25), dropped({"person": person}, 0.25), dropped({"person": person}, 0.0)
    assert plain[0] == never[0] == 0 and told[0] == pytest.approx(0.25, abs=0.07)
    assert plain[1] == told[1] == never[1] and len(told[2]) == len(plain[2]) + 1
    np.testing.assert_array_equal(told[2][-1], person)


def test_self_conditioning_is_given_half_of_the_time():
    seen = []

    def network(params, z_t, log_snr, user, keep, last):
        seen.append(last)
        return jnp.ones_like(z_t)

    loss = prior_loss(network, self_condition=True)
    for i in range(50):
        loss(None, batch() | {"example": jnp.arange(B) + B * i}, jax.random.key(0), parallel.SINGLE_DEVICE)
    assert np.mean([float(s.mean()) for s in seen[1::2]]) == pytest.approx(0.5, abs=0.08)


def test_augmentation_of_no_strength_changes_nothing():
    x, frames = batch()["spectrogram"], jnp.full(B, 5)
    k = prng.example_keys(jax.random.key(0), np.arange(B))
    same = augmentation.augment_batch(k, x, frames, augmentation.Augmentation(0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(same, x, atol=1e-6)


def test_augmentation_shifts_time_and_never_frequency():
    """Row sums survive a circular shift in time; no flip can be one. Only a window's own frames are shifted."""
    x = batch()["spectrogram"]
    k = prng.example_keys(jax.random.key(0), np.arange(B))
    for own in (8, 5):
        y = augmentation.augment_batch(k, x, jnp.full(B, own), augmentation.Augmentation(0.5, 0.0, 0.0, 0.0))
        np.testing.assert_allclose(y[:, :, own:], x[:, :, own:], atol=1e-6)
        pairs = list(zip(x[:, :, :own], y[:, :, :own], strict=True))
        match = [[np.allclose(np.roll(a, s, 1), b, atol=1e-6) for s in range(own)] for a, b in pairs]
        assert all(map(any, match)) and len({m.index(True) for m in match}) > 2


def test_augmentation_of_an_example_does_not_depend_on_its_batch():
    x, strength = batch()["spectrogram"], augmentation.Augmentation(0.5, 0.2, 0.1, 0.3)
    k = prng.example_keys(jax.random.key(0), np.arange(B))
    frames = jnp.arange(1, B + 1)
    whole, alone = (augmentation.augment_batch(k[s], x[s], frames[s], strength) for s in (slice(B), slice(3, 5)))
    np.testing.assert_allclose(whole[3:5], alone, atol=1e-6)

"""The losses of encoder, prior, decoder, and the decoder's student. Each is
`(variables, batch, key, collectives, *, …) -> (loss, metrics)`, where `variables` are what the networks are applied to.

Everything random is keyed by the global example index, so a loss does not depend on how many devices share a batch.
Prior and decoder read `batch["embedding"]`, the frozen encoder's standardised embedding of each window: it is computed
once, so the same numbers are the target of the one and the condition of the other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mdiff_jax.diffusion import consistency, gaussian, noise_floor
from mdiff_jax.diffusion.consistency import TeacherSteps
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.inference import pipeline
from mdiff_jax.inference.denoisers import DenoiserSpec, SamplerSpec
from mdiff_jax.models.layers import NO_ROW, frame_mask
from mdiff_jax.runtime import prng
from mdiff_jax.runtime.array_types import Array, Batch, Key
from mdiff_jax.runtime.parallel import Collectives
from mdiff_jax.training.augmentation import Augmentation, augment_batch

Result = tuple[Array, dict[str, Array]]


class EncoderLossSettings(NamedTuple):
    """Weights and augmentation of the encoder's loss."""

    augmentation: Augmentation
    temperature: float  # of the contrastive loss
    contrastive_weight: float
    classification_weight: float


class DenoisingLossSettings(NamedTuple):
    """Noising and weighting of examples in the losses of prior and decoder."""

    batch_size: int  # over all devices: timesteps are stratified over it
    cond_drop_prob: float  # share of examples without a condition
    row_drop_prob: float = 0.0  # share of examples whose user has no row, where batches say who a user is as 'person'
    conditioning_noise: float = 0.0  # largest deviation of noise on embeddings; decoder
    weighting: str = "plain"  # of timesteps, one of `ranges.WEIGHTINGS`; decoder


class DistillationLossSettings(NamedTuple):
    """Noising of examples in the loss of the decoder's student, and what it is like."""

    batch_size: int  # over all devices: the teacher's steps are stratified over it
    row_drop_prob: float
    conditioning_noise: float
    scales: tuple[float, float]  # of guidance, from – to
    huber: float  # error below which it is quadratic


def supervised_contrastive_loss(
    z: Array, user: Array, everyone: Array, users: Array, same: Array, temperature: float
) -> Array:
    """Mean over anchors of L_out (Khosla et al. 2020, equation 2).

    z (n, D) anchors and `everyone` (m, D), all of unit length; `same` (n, m) marks an anchor itself.
    """
    logits = z @ everyone.T / temperature
    log_p = logits - jax.nn.logsumexp(jnp.where(same, -jnp.inf, logits), axis=1, keepdims=True)
    positive = (user[:, None] == users[None]) & ~same
    return -jnp.mean(jnp.sum(jnp.where(positive, log_p, 0.0), axis=1) / jnp.maximum(positive.sum(1), 1))


def encoder_loss(
    variables: Any,
    batch: Batch,
    key: Key,
    collectives: Collectives,
    *,
    embed: Callable[[Any, Array, Array], Array],
    classify: Callable[[Any, Array], Array],
    settings: EncoderLossSettings,
) -> Result:
    """Supervised-contrastive plus classification, on two views of each window."""
    # --- two views
    x, frames, user, example = batch["spectrogram"], batch["frames"], batch["user"], batch["example"]
    view_keys = [prng.example_keys(jax.random.fold_in(key, v), example) for v in (0, 1)]
    views = [augment_batch(keys, x, frames, settings.augmentation) for keys in view_keys]
    z = embed(variables, jnp.concatenate(views), jnp.tile(frames, 2))
    user, name = jnp.tile(user, 2), jnp.concatenate([2 * example, 2 * example + 1])

    # --- pull windows of a user together, across all devices
    same = name[:, None] == collectives.gather(name)[None]
    contrastive = supervised_contrastive_loss(
        z, user, collectives.gather(z), collectives.gather(user), same, settings.temperature
    )

    # --- classify the user
    logits = classify(variables, z)
    classification = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), user[:, None], axis=1))
    loss = settings.contrastive_weight * contrastive + settings.classification_weight * classification
    accuracy = jnp.mean(logits.argmax(-1) == user)
    return loss, {"loss": loss, "contrastive": contrastive, "classification": classification, "accuracy": accuracy}


def add_noise(
    x0: Array, key: Key, example: Array, schedule: NoiseSchedule, batch_size: int
) -> tuple[Array, Array, Array]:
    """(t, noise, x_t) of a batch: stratified timesteps, a noise field per example."""
    k_t, k_noise = jax.random.split(key)
    t = gaussian.stratified_timesteps(k_t, example, batch_size, schedule.timesteps)
    noise = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:]))(prng.example_keys(k_noise, example))
    return t, noise, gaussian.q_sample(schedule, x0, t, noise)


def example_bernoulli(key: Key, example: Array, p: float) -> Array:
    """(B,) true with probability p, by example."""
    return jax.vmap(lambda k: jax.random.bernoulli(k, p))(prng.example_keys(key, example))


def drop_rows(batch: Batch, key: Key, p: float) -> tuple[Array, list[Array]]:
    """(user, [person]): with probability p a user without a row. Where nothing else says who it is, (user, [])."""
    if "person" not in batch:
        return batch["user"], []
    dropped = example_bernoulli(jax.random.fold_in(key, 1), batch["example"], p)
    return jnp.where(dropped, NO_ROW, batch["user"]), [batch["person"]]


def loss_by_noise_quartile(losses: Array, t: Array, timesteps: int) -> dict[str, Array]:
    """Mean loss in each quarter of the timesteps, 'loss_t0' the least noisy; the four average to the mean."""
    quarter = (4 * t) // timesteps
    return {f"loss_t{q}": jnp.mean(losses * (quarter == q)) * 4.0 for q in range(4)}


def prior_loss(
    variables: Any,
    batch: Batch,
    key: Key,
    collectives: Collectives,
    *,
    denoiser: DenoiserSpec,
    settings: DenoisingLossSettings,
) -> Result:
    """Mean squared error of the denoised embedding (Ramesh et al. 2022, equation 2: x0 prediction)."""
    # --- noise
    k_noise, k_drop, k_self = jax.random.split(key, 3)
    z0, example = batch["embedding"], batch["example"]
    t, _, z_t = add_noise(z0, k_noise, example, denoiser.schedule, settings.batch_size)
    log_snr = gaussian.log_snr(denoiser.schedule, t)
    keep = ~example_bernoulli(k_drop, example, settings.cond_drop_prob)
    user, person = drop_rows(batch, k_drop, settings.row_drop_prob)

    # --- the last estimate, half of the time
    last = jnp.zeros_like(z0)
    if denoiser.self_condition:
        guess = jax.lax.stop_gradient(denoiser.network(variables, z_t, log_snr, user, keep, last, *person))
        last = jnp.where(example_bernoulli(k_self, example, 0.5)[:, None], guess, last)

    # --- denoise
    estimate = denoiser.network(variables, z_t, log_snr, user, keep, last, *person)
    losses = jnp.mean((estimate - z0) ** 2, axis=-1)
    loss = jnp.mean(losses)
    return loss, {"loss": loss, **loss_by_noise_quartile(losses, t, denoiser.schedule.timesteps)}


def blur_embedding(batch: Batch, k_noise: Key, k_level: Key, most: float, denoiser: DenoiserSpec) -> Array:
    """The embeddings of a batch with noise of a deviation up to `most`, as far from it as the prior's may be."""
    z, example = batch["embedding"], batch["example"]
    level = most * jax.vmap(jax.random.uniform)(prng.example_keys(k_level, example))
    blur = jax.vmap(lambda k: jax.random.normal(k, z.shape[1:]))(prng.example_keys(k_noise, example))
    if denoiser.native_frames:
        blur = blur.at[:, -1].set(0.0)  # the number of frames
    return z + level[:, None] * blur


def mean_square(error: Array, frames: Array) -> Array:
    """(B,) means of squares over each window's own frames."""
    own = frame_mask(frames, error.shape[2])
    return jnp.sum(own * error**2, axis=(1, 2, 3)) / jnp.sum(own * jnp.ones_like(error), axis=(1, 2, 3))


def decoder_loss(
    variables: Any,
    batch: Batch,
    key: Key,
    collectives: Collectives,
    *,
    denoiser: DenoiserSpec,
    settings: DenoisingLossSettings,
) -> Result:
    """Weighted mean squared error of the predicted eps, x0 or v."""
    # --- condition: the frozen encoder's embedding, blurred so that the prior's embeddings are in distribution
    k_noise, k_drop, k_cond, k_level = jax.random.split(key, 4)
    frames, example = batch["frames"], batch["example"]
    x0 = noise_floor.lower_floor(batch["spectrogram"], denoiser.noise_floor_margin)
    z = blur_embedding(batch, k_cond, k_level, settings.conditioning_noise, denoiser)
    keep = ~example_bernoulli(k_drop, example, settings.cond_drop_prob)
    user, person = drop_rows(batch, k_drop, settings.row_drop_prob)

    # --- noise, predict
    t, noise, x_t = add_noise(x0, k_noise, example, denoiser.schedule, settings.batch_size)
    log_snr = gaussian.log_snr(denoiser.schedule, t)
    output = denoiser.network(variables, x_t, log_snr, z, user, keep, frames, *person)
    target = gaussian.prediction_target(denoiser.schedule, x0, noise, t, denoiser.prediction)

    # --- weigh
    losses = mean_square(output - target, frames)
    loss = jnp.mean(losses * gaussian.loss_weight(denoiser.schedule, t, denoiser.prediction, settings.weighting))
    return loss, {"loss": loss, **loss_by_noise_quartile(losses, t, denoiser.schedule.timesteps)}


def distillation_loss(
    variables: Any,
    batch: Batch,
    key: Key,
    collectives: Collectives,
    *,
    teacher: Any,
    teacher_spec: SamplerSpec,
    student_spec: SamplerSpec,
    steps: TeacherSteps,
    settings: DistillationLossSettings,
) -> Result:
    """Pseudo-Huber loss of the student's estimate of x0 (Heek et al. 2024, algorithm 1).

    `teacher` is what the frozen decoder is applied to. No condition is dropped: the student is never without.
    """
    # --- condition, and a guidance scale for each example
    k_noise, k_drop, k_cond, k_level, k_scale = jax.random.split(key, 5)
    denoiser, frames, example = teacher_spec.denoiser, batch["frames"], batch["example"]
    x0 = noise_floor.lower_floor(batch["spectrogram"], denoiser.noise_floor_margin)
    z = blur_embedding(batch, k_cond, k_level, settings.conditioning_noise, denoiser)
    condition = z, frames, drop_rows(batch, k_drop, settings.row_drop_prob)
    low, high = settings.scales
    scale = low + (high - low) * jax.vmap(jax.random.uniform)(prng.example_keys(k_scale, example))

    # --- noise up to where one of the teacher's steps begins
    k_row, k_noise = jax.random.split(k_noise)
    row = gaussian.stratified_timesteps(k_row, example, settings.batch_size, len(steps.t))
    t, s = jnp.asarray(steps.t)[row], jnp.asarray(steps.s)[row]
    noise = jax.vmap(lambda k: jax.random.normal(k, x0.shape[1:]))(prng.example_keys(k_noise, example))
    x_t = gaussian.q_sample(denoiser.schedule, x0, t, noise)

    # --- target: the teacher's guided step, and on from there the student
    guided = scale if low < high else low  # at 1 alone the teacher takes one pass, too
    taught = pipeline.guided_decoder(teacher_spec, teacher, *condition, scale=guided)(x_t, t)
    x_s = consistency.step(steps, row, x_t, taught)
    held = pipeline.guided_decoder(student_spec, jax.lax.stop_gradient(variables), *condition, scale=scale)
    target = jax.lax.stop_gradient(consistency.target(steps, row, taught, held(x_s, s)))

    # --- the student, its estimates not clipped, which would have no gradient
    free = student_spec._replace(bound=lambda denoise, low, high: denoise)
    estimate = pipeline.guided_decoder(free, variables, *condition, scale=scale)(x_t, t)
    losses = consistency.pseudo_huber(mean_square(estimate - target, frames), settings.huber)
    loss = jnp.mean(losses)
    return loss, {"loss": loss, **loss_by_noise_quartile(losses, t, denoiser.schedule.timesteps)}

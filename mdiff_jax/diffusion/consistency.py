"""Multistep consistency distillation: the targets of a student that takes few long steps where a teacher takes many.

The noise levels are cut into segments. From anywhere in one, the student's estimate of x_0 is to lead, by one DDIM
step, to where the teacher's steps lead: the end of the segment (Heek et al. 2024, algorithm 1; one segment is the
consistency model of Song et al. 2023). Sampling from the student is DDIM with the spacing 'trailing', a step a segment.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mdiff_jax.diffusion import gaussian, samplers, schedules
from mdiff_jax.diffusion.schedules import NoiseSchedule
from mdiff_jax.runtime.array_types import Array
from mdiff_jax.runtime.errors import InputError

CLEAN = -1  # in place of a timestep: abar = 1
Timesteps = Int[np.ndarray, " n"]
Column = Float[np.ndarray, " n"]


class TeacherSteps(NamedTuple):
    """The DDIM steps of a teacher, one a row, the least noisy first: x_s = x · x_t + x0 · estimate.

    The target of the student's estimate at t is `teacher` times the teacher's there plus `student` times the student's
    own at s. At the end of a segment the latter counts nothing, so that what the teacher says spreads from there.
    """

    t: Timesteps
    s: Timesteps  # 0 in place of CLEAN, where the student's estimate counts nothing
    x: Column
    x0: Column
    teacher: Column
    student: Column


def teacher_steps(schedule: NoiseSchedule, count: int, segments: int, noise_scale: float = 1.0) -> TeacherSteps:
    """Returns `count` steps over the whole schedule, a multiple of `segments`; `noise_scale` as in samplers.

    Of a step t → s → b, with b the end of the segment, the student's one step t → b is to give the same x_b. Both are
    linear in x_t with the same coefficient, which leaves of the target a mean of two estimates of x_0.

    Raises InputError unless the steps divide into segments.
    """
    check_segments(count, segments, schedule.timesteps)
    t = select_levels(schedule, count, segments)
    s = np.append(CLEAN, t[:-1])
    b = np.repeat(s[:: count // segments], count // segments)
    x, x0 = ddim(schedule, t, s, noise_scale)
    on, on_x0 = ddim(schedule, s, b, noise_scale)
    _, whole = ddim(schedule, t, b, noise_scale)
    return TeacherSteps(t, np.maximum(s, 0), x, x0, on * x0 / whole, on_x0 / whole)


def select_levels(schedule: NoiseSchedule, count: int, segments: int) -> Timesteps:
    """Returns the timesteps that steps start from, ascending; among them exactly those that the student samples at."""
    t, starts = (schedules.sampling_timesteps(schedule.timesteps, n, "trailing")[::-1] for n in (count, segments))
    t[count // segments - 1 :: count // segments] = starts  # which may have been rounded the other way
    return t


def ddim(schedule: NoiseSchedule, t: Timesteps, s: Timesteps, noise_scale: float) -> tuple[Column, Column]:
    """Returns the coefficients (of x_t, of the estimate) of steps t → s, either of them CLEAN; 1 and 0 where t is s."""
    abar, moves = np.append(schedule.alphas_cumprod, 1.0), t != s
    x, x0 = np.ones(len(t)), np.zeros(len(t))
    x[moves], x0[moves], _, _ = samplers.ddim_rows(abar[t[moves]], abar[s[moves]], eta=0.0)
    inner = moves & (s != CLEAN)
    x[inner] *= samplers.noise_gain(schedule, t[inner], s[inner], noise_scale)
    return x, x0


def step(steps: TeacherSteps, row: Int[Array, " batch"], x_t: Array, estimate: Array) -> Array:
    """Returns x_s of each example, one step of the teacher from x_t (B, …); `row` (B,) says which."""
    return _column(steps.x, row, x_t) * x_t + _column(steps.x0, row, x_t) * estimate


def target(steps: TeacherSteps, row: Int[Array, " batch"], teacher: Array, student: Array) -> Array:
    """Returns what the student's estimate at t is to be: from the teacher's (B, …) at t, the student's at s."""
    return _column(steps.teacher, row, teacher) * teacher + _column(steps.student, row, student) * student


def pseudo_huber(mean_square: Array, bend: float) -> Array:
    """Returns sqrt(mean square + bend²) - bend: the root mean square, smooth at 0 (Song and Dhariwal 2024, section 3.3,
    who take a bend of 0.00054).
    """
    return jnp.sqrt(mean_square + bend**2) - bend


def check_segments(count: int, segments: int, timesteps: int) -> None:
    """Raises InputError unless `count` steps of the teacher are at most the timesteps, and as many in each segment."""
    if count > timesteps:
        raise InputError(f"{count} steps of the teacher are more than its {timesteps} timesteps: give fewer")
    if count % segments:
        raise InputError(f"{segments} segments do not divide the teacher's {count} steps: give a divisor of {count}")


def _column(values: Column, row: Array, like: Array) -> Array:
    return gaussian.gather_schedule(values, row).reshape((-1,) + (1,) * (like.ndim - 1))

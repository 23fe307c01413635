"""What a stage takes: counted by part, and the advice where it does not fit."""

import jax.numpy as jnp

from mdiff_jax.runtime.parallel import StepCost
from mdiff_jax.training import cost_analysis

GIB = 2**30
PLAN = cost_analysis.StagePlan(
    "decoder", {"down": 3_000_000, "up": 4_500_000}, 2 * GIB, 650, 6400, 100, 16, 2, StepCost(2e9, 10 * GIB), None
)


def test_parameters_are_counted_by_part():
    params = {"down_0_1": {"kernel": jnp.ones((2, 3))}, "down_1": {"bias": jnp.ones(4)}, "up": jnp.ones(5)}
    assert cost_analysis.count_parameters(params) == {"down": 10, "up": 5}


def test_the_table_has_each_kind_of_cost():
    text = cost_analysis.format_plan(PLAN)
    for part in ("7.5 M (down 3, up 4.5)", "6400 steps of 16 on 2 device(s), 100 done", "0.25 GFLOP", "10.00 GiB a"):
        assert part in text
    assert cost_analysis.MISFIT not in text, "nobody knows what the device has"


def test_what_fits_is_not_commented_on():
    assert cost_analysis.suggest_if_too_large(PLAN._replace(device_bytes=12 * GIB)) is None


def test_the_largest_batch_leaves_room_for_the_state():
    """Of 10 GiB 2 are state and 1 a window of the 8 on each device: 0.9 x 8 - 2 = 5.2 GiB hold 5."""
    small = PLAN._replace(device_bytes=8 * GIB)
    assert cost_analysis.largest_batch(small) == 10
    assert "decoder.batch_size=10" in cost_analysis.suggest_if_too_large(small)
    assert "smaller network" in cost_analysis.suggest_if_too_large(PLAN._replace(device_bytes=1 * GIB))

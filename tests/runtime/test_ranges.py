"""A range contains what it says in words, and nothing that is not finite or of another kind."""

import jax
import pytest

from mdiff_jax.runtime import prng
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.ranges import SEED, Range


@pytest.mark.parametrize(
    ("allowed", "words", "inside", "outside"),
    [
        (Range(int, 1, 3), "a whole number from 1 to 3", [1, 3], [0, 4, 2.0, True, "2", None, float("nan")]),
        (Range(float, 0, 1), "a number from 0 to 1", [0, 0.5, 1], [-1e-9, float("inf"), float("nan"), False, "0"]),
        (Range(float, 0, 1, above=True), "a number above 0, at most 1", [1e-9, 1], [0.0]),
        (Range(float, 0, 1, below=True), "a number from 0, below 1", [0], [1.0]),
        (Range(float, 0), "a number from 0", [1e300], [float("inf")]),
        (Range(bool), "true or false", [True, False], [0, 1, None, "true"]),
        (Range(str), "text", ["", "a"], [None, 1, b"a"]),
        (
            Range(int, 1, 3, length=(2, 2)),
            "2 whole numbers from 1 to 3",
            [(1, 3), [2, 2]],
            [(1,), (1, 4), 2, None, "12"],
        ),
        (Range(bool, length=(0, 2)), "0 to 2 values, each true or false", [(), (True,)], [(1,), (True,) * 3]),
    ],
)
def test_a_range_is_what_it_says(allowed, words, inside, outside):
    assert allowed.describe() == words
    for value in inside:
        allowed.check("key", value)
    for value in outside:
        with pytest.raises(InputError) as error:
            allowed.check("key", value)
        assert str(error.value) == f"key is {value!r}: give {words}"


def test_a_seed_is_never_cut_to_32_bits():
    keys = [jax.random.key_data(prng.purpose_key(seed, "sample")) for seed in (0, 1, int(SEED.high))]
    assert len({tuple(map(int, key)) for key in keys}) == 3
    for seed in (-1, 2**32, 2**64):
        with pytest.raises(InputError, match="seed is"):
            prng.purpose_key(seed, "sample")

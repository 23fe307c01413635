"""The convolutional judge learns, and the same training gives the same judge."""

import numpy as np
from walker_sets import drawn_walks

from mdiff_jax.metrics import cnn_classifier

RNG = np.random.default_rng(0)


def test_the_convolutional_judge_learns_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(cnn_classifier, "WIDTHS", (8, 16))
    x, users = np.concatenate([drawn_walks(24, 2 * u, RNG) for u in range(2)]), np.repeat([0, 1], 24)
    x = x.reshape(48, 16, 4, 16, 4).mean((2, 4))
    judge, again = (cnn_classifier.fit_cnn(x[::2], users[::2], seed=3, steps=40) for _ in range(2))
    p = judge.probabilities(x[1::2])
    assert (p.argmax(1) == users[1::2]).mean() > 0.9
    np.testing.assert_allclose(p, again.probabilities(x[1::2]), atol=1e-4)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert judge.features(x).shape == (48, 64) and np.abs(judge.features(x)).max() <= 3

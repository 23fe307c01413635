"""Who is it? Independent judges of identity: they share neither weights nor features with the model's encoder.

A judge is trained on the training split alone, and is worth what it scores on real windows of unseen walks.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mdiff_jax.types import Windows

BANDS = 32  # Doppler rows are pooled to so many
WAVES = 16  # frequencies along time that are kept: 4 steps a window are the 4th


class LinearJudge(NamedTuple):
    """Logistic regression on what a shift in time does not change."""

    classifier: Pipeline

    def probabilities(self, windows: Windows) -> Float[np.ndarray, "windows users"]:
        return self.classifier.predict_proba(features(windows))

    def features(self, windows: Windows) -> Float[np.ndarray, "windows dim"]:
        """What the judge looks at, standardised on its training windows and held inside ±3: a kernel of third order
        would hear nothing but the oddest window else.
        """
        return np.clip(self.classifier[0].transform(features(windows)), -3.0, 3.0)


def features(windows: Windows) -> Float[np.ndarray, "windows dim"]:
    """|FFT| over time of pooled Doppler rows, on a logarithmic scale."""
    n, rows, frames = windows.shape
    bands = windows.reshape(n, min(BANDS, rows), -1, frames).mean(2)
    spectrum = np.abs(np.fft.rfft(bands, axis=2))[:, :, :WAVES]
    return np.log1p(spectrum).reshape(n, -1).astype(np.float32)


def fit_linear(windows: Windows, users: Int[np.ndarray, " windows"], seed: int = 0) -> LinearJudge:
    """A judge that has seen these windows."""
    regression = LogisticRegression(C=0.01, max_iter=1000, random_state=seed)
    return LinearJudge(make_pipeline(StandardScaler(), regression).fit(features(windows), users))


def score(judge: LinearJudge, windows: Windows, users: Int[np.ndarray, " windows"]) -> dict[str, float]:
    """'accuracy', and 'recognised': the share that is right with more than 0.8 of the probability."""
    p = judge.probabilities(windows)
    right = p.argmax(1) == users
    return {"accuracy": float(right.mean()), "recognised": float((right & (p.max(1) > 0.8)).mean())}

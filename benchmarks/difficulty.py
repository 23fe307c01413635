"""Measures how hard walkers and real people are to identify: accuracy of classifiers on unseen recordings.

python benchmarks/difficulty.py [--users=10] [--windows=50] [--seeds=0,1,2] [--difficulty=1.0] [--nuisances=1.0]
    [--path=FOLDER]

With --path for the recordings in that folder instead of walkers; all at 64x64.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mdiff_jax.data import arrays, builders, splits
from mdiff_jax.metrics import cnn_classifier, identity


def prepared(given: argparse.Namespace, seed: int, folder: str) -> builders.Dataset:
    """Returns ten recordings of eight windows for each walker, or the recordings at --path."""
    walkers = dict(num_users=given.users, recordings_per_user=10, windows_per_recording=8)
    walkers |= dict(difficulty=given.difficulty, nuisances=given.nuisances, seed=seed)
    return builders.prepare_dataset(
        kind="folder" if given.path else "walkers",
        path=given.path,
        image_size=(64, 64),
        cache_dir=Path(folder) / "data",
        channels="scalar",
        colormap_name="auto",
        native_frames=False,
        stft=arrays.DEFAULT_STFT._asdict(),
        walkers=walkers,
    )


def accuracies(given: argparse.Namespace, seed: int) -> tuple[int, int, dict[str, float]]:
    """Returns (number of training windows, of test windows, {classifier: accuracy on unseen recordings})."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepared(given, seed, folder)
        split = splits.make_split(
            dataset, fractions=(0.7, 0.1, 0.2), by="auto", gap=3, seed=seed, windows_per_user=given.windows
        )
        rows = [dataset.rows(split[name]) for name in ("train", "test")]
        (x, users), (unseen, theirs) = ((dataset.load(r)[..., 0], dataset.user_ids[r]) for r in rows)
    judges = {
        "linear": identity.fit_linear(x, users, seed=seed),
        "convolutional": cnn_classifier.fit_cnn(x, users, seed=seed, augment=False),
        "convolutional, disturbed windows": cnn_classifier.fit_cnn(x, users, seed=seed),
    }
    scores = {name: identity.score_identity(judge, unseen, theirs)["accuracy"] for name, judge in judges.items()}
    scores["convolutional, on its training windows"] = identity.score_identity(judges["convolutional"], x, users)[
        "accuracy"
    ]
    return len(x), len(unseen), scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--windows", type=int, default=50, help="training windows per user")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--difficulty", type=float, default=1.0)
    parser.add_argument("--nuisances", type=float, default=1.0)
    parser.add_argument("--path", default="")
    given = parser.parse_args()
    found = []
    for seed in map(int, given.seeds.split(",")):
        train, test, scores = accuracies(given, seed)
        found.append(scores)
        text = ", ".join(f"{name} {value:.1%}" for name, value in scores.items())
        print(f"seed {seed}: {train} training windows, {test} unseen: {text}", flush=True)
    for name in found[0]:
        values = [scores[name] for scores in found]
        print(f"{name}: mean {np.mean(values):.1%}, {min(values):.1%} to {max(values):.1%}")


if __name__ == "__main__":
    main()

"""Compares simulated walkers, without and with nuisances, to recorded people.

python benchmarks/simulated_against_recorded.py --path=FOLDER [--walkers=60] [--nuisances=1.0] [--seed=0]
    [--sheet=SHEET.png]

Walkers are written as the recordings' files are and read like them, 16 windows of one walk each. Judges are trained on
a third of each person's walks. AUC of held-out walks and kernel distances are those to halves of the other walks,
beside those of the other halves, and of half of the people to the others. SHEET.png shows recorded windows beside
simulated ones.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from mdiff_jax.data import arrays, export, native_grid, render, simulated, sources
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.metrics import distances, kinematics, spectra, two_sample_test
from mdiff_jax.metrics.reference import Reference, WindowSet, make_reference
from mdiff_jax.runtime import cli
from mdiff_jax.simulator import walkers

COLORMAP = "jet"
WINDOWS = 16  # of a walk, about as many as recorded walks have
AUC_SIZE, JUDGE_SIZE = 128, 64  # rows and columns
DRAWS = 6
CHUNK = 64
SHEET_ROWS, SHEET_COLUMNS = 6, 6
SHARES = ("starts, stops and turns", "plausible")
PERCENTILES = {  # of windows, and how they are written
    "empty share": ".2f",
    "highest return, pixels": ".0f",
    "ridge": ".3f",
    "ratio": ".2f",
    "bob": ".3f",
    "steps": ".2f",
    "below": ".3f",
    "alternation": ".2f",
    "arrow": ".2f",
    "frames": ".0f",
}
BANDS = ("pixels by level", "pixels that are not empty by row")  # shares, in 16 bands
Pair = tuple["Measured", "Measured"]
Comparison = Callable[["Measured", "Measured"], float]


class Measured(NamedTuple):
    """Windows as numbers, one row each."""

    users: np.ndarray
    walks: np.ndarray  # no two users' alike
    features: dict[str, np.ndarray]  # to be told apart by, and of judges
    physics: dict[str, np.ndarray]

    def pick(self, rows: np.ndarray) -> "Measured":
        tables = ({name: values[rows] for name, values in table.items()} for table in self[2:])
        return Measured(self.users[rows], self.walks[rows], *tables)


class Images(NamedTuple):
    """Windows as files hold them, (n, 256, 256), their users and walks."""

    windows: np.ndarray
    users: np.ndarray
    walks: np.ndarray


def read_folder(root: Path) -> tuple[Images, dict[str, Any]]:
    """Reads a folder of images; returns how they are written too."""
    items = sources.scan_windows(root, arrays.DEFAULT_STFT)
    survey = native_grid.survey_files([sources.file_path(root, item) for item in items], COLORMAP)
    examples = read_examples(root, items, ReadOptions(simulated.IMAGE_SIZE, colormap=COLORMAP))
    windows = np.stack([example.window[..., 0] for example in examples])
    metadata = {"original_size": simulated.IMAGE_SIZE, "colormap": COLORMAP, "native": True}
    metadata |= {"file_format": survey.file_format.to_json()}
    users, walks = (np.array(x) for x in zip(*((i.user, f"{i.user}/{i.recording}") for i in items), strict=True))
    return Images(windows, users, walks), metadata


def simulate(count: int, seed: int, nuisances: float, metadata: dict[str, Any]) -> Images:
    """Writes walkers as the recordings are written, and reads them."""
    options = {"num_users": count, "recordings_per_user": 1, "windows_per_recording": WINDOWS, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        for w in walkers.make_windows(nuisances=nuisances, rows=simulated.IMAGE_SIZE[0], **options):
            path = Path(folder) / w.user / f"{w.recording}_{w.index}.{metadata['file_format']['suffix']}"
            export.write_window(path, w.spectrogram[..., None], w.spectrogram.shape[1], metadata)
        return read_folder(Path(folder))[0]


def measure(images: Images, reference: Reference) -> Measured:
    """Measures windows, a few at a time."""
    chunks = (images.windows[i : i + CHUNK] for i in range(0, len(images.windows), CHUNK))
    parts = [measure_few(chunk, reference) for chunk in chunks]
    tables = ({name: np.concatenate([p[k][name] for p in parts]) for name in parts[0][k]} for k in (0, 1))
    return Measured(images.users, images.walks, *tables)


def measure_few(windows: np.ndarray, reference: Reference) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns features and physics."""
    small = two_sample_test.resize_windows(windows, JUDGE_SIZE)
    features = two_sample_test.window_features(two_sample_test.resize_windows(windows, AUC_SIZE))
    features |= {name: extract(small) for name, extract in reference.extractors.items()}
    physics = kinematics.measure_kinematics(windows, reference.zero_doppler)
    files = spectra.measure_files(windows, reference.zero_doppler)
    physics["starts, stops and turns"] = kinematics.is_start_or_stop(physics)
    physics["plausible"] = kinematics.is_plausible(physics)
    physics["empty share"] = 1 - files[spectra.OCCUPANCY].mean(1)
    physics["highest return, pixels"] = files[spectra.HIGHEST][:, 0]
    physics["pixels by level"] = files[spectra.LEVELS]
    physics["pixels that are not empty by row"] = files[spectra.OCCUPANCY].reshape(len(windows), 16, -1).mean(2)
    return features, physics


# ----------------------------------------------------------------------------- comparisons


def divide(users: np.ndarray, walks: np.ndarray, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the part of each window: every user's walks in turn."""
    part = np.zeros(len(users), int)
    for user in np.unique(users):
        for k, walk in enumerate(rng.permutation(np.unique(walks[users == user]))):
            part[walks == walk] = k % parts
    return part


def pairs(recorded: Measured, other: Measured) -> Iterator[Pair]:
    """Yields equal numbers of windows of `other` and of a half of the recorded walks."""
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        half = np.flatnonzero(divide(recorded.users, recorded.walks, 2, rng) == 0)
        if other is recorded:
            rest = np.setdiff1d(np.arange(len(recorded.users)), half)
        else:
            rest = np.arange(len(other.users))
        count = min(len(half), len(rest))
        yield other.pick(rng.permutation(rest)[:count]), recorded.pick(rng.permutation(half)[:count])


def people_pairs(recorded: Measured) -> Iterator[Pair]:
    """Yields the windows of half of the people, and those of the others."""
    people = np.unique(recorded.users)
    some = list(itertools.combinations(people, len(people) // 2))
    for chosen in some[:: max(1, len(some) // DRAWS)][:DRAWS]:
        mine = np.isin(recorded.users, chosen)
        yield recorded.pick(np.flatnonzero(mine)), recorded.pick(np.flatnonzero(~mine))


def told_apart(kind: str) -> Comparison:
    """Returns the AUC of held-out walks."""

    def auc(a: Measured, b: Measured) -> float:
        groups = np.unique(np.concatenate([a.walks, b.walks]), return_inverse=True)[1]
        same = np.zeros(len(groups), int)
        cut = len(a.walks)
        folds = two_sample_test.make_folds(same[:cut], groups[:cut], same[cut:], groups[cut:], seed=0)
        return two_sample_test.held_out_auc(a.features[kind], b.features[kind], folds)

    return auc


def comparisons(reference: Reference) -> dict[str, Comparison]:
    """Returns the figures that compare two sets, by name."""

    def distance(kind: str) -> Comparison:
        return lambda a, b: distances.kernel_distance(a.features[kind], b.features[kind])

    kinds = [kind for kind in two_sample_test.KINDS if kind != two_sample_test.JUDGE_FEATURES]
    return (
        {f"AUC, {kind}": told_apart(kind) for kind in kinds}
        | {f"AUC, {name} features": told_apart(name) for name in reference.extractors}
        | {f"kernel distance, {name} features": distance(name) for name in reference.extractors}
    )


def describe(s: Measured) -> Iterator[tuple[str, str]]:
    """Yields figures of one set; in means every user counts alike."""
    ids, counts = np.unique(s.users, return_inverse=True, return_counts=True)[1:]
    means = {name: np.average(values, axis=0, weights=1 / counts[ids]) for name, values in s.physics.items()}
    for name in SHARES:
        yield name, f"{means[name]:.3f}"
    for name, form in PERCENTILES.items():
        values = np.percentile(s.physics[name], (5, 50, 95))
        yield f"{name}, 5 / 50 / 95 %", " / ".join(format(value, form) for value in values)
    for name in BANDS:
        yield name, " ".join(f"{value:.3f}" for value in means[name])


def write_sheet(path: Path, sets: list[np.ndarray]) -> None:
    """Writes rows of windows, recorded ones on the left and simulated ones on the right: without nuisances, then with
    them.
    """
    rng = np.random.default_rng(0)
    recorded, plain, disturbed = (w[rng.choice(len(w), SHEET_ROWS * SHEET_COLUMNS)][..., None] for w in sets)
    rows = {}
    for k in range(SHEET_ROWS):
        name, shown = ("nuisances", disturbed) if k % 2 else ("none", plain)
        part = slice(k * SHEET_COLUMNS, (k + 1) * SHEET_COLUMNS)
        rows[f"{k + 1}: {name}"] = tuple(export.to_image(w[part], COLORMAP) for w in (recorded, shown))
    render.plot_grid(path, rows, kinematics.ZERO_DOPPLER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--walkers", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nuisances", type=float, default=1.0, help="strength, beside 0")
    parser.add_argument("--sheet", type=Path, help="picture to write, with recorded windows in it")
    given = parser.parse_args()
    images, metadata = read_folder(given.path)
    part = divide(images.users, images.walks, 3, np.random.default_rng(0))
    ids = np.unique(images.users, return_inverse=True)[1]
    reference = make_reference(
        WindowSet(two_sample_test.resize_windows(images.windows[part == 0], JUDGE_SIZE), ids[part == 0]), None
    )
    simulations = [simulate(given.walkers, given.seed, strength, metadata) for strength in (0.0, given.nuisances)]
    if given.sheet:
        write_sheet(given.sheet, [x.windows for x in (images, *simulations)])
    recorded, *simulated_sets = (measure(x, reference) for x in (images, *simulations))
    unseen = recorded.pick(np.flatnonzero(part != 0))
    columns = [list(pairs(unseen, other)) for other in (*simulated_sets, unseen)] + [list(people_pairs(unseen))]
    print(f"| | nuisances 0 | nuisances {given.nuisances:g} | recorded, other walks | recorded, other people |")
    print("|---" * 5 + "|")
    for name, compare in comparisons(reference).items():
        cells = (f"{np.mean([compare(a, b) for a, b in column]):.3f}" for column in columns)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for figures in zip(*map(describe, (*simulated_sets, recorded)), strict=True):
        print(f"| {figures[0][0]} | {' | '.join(value for _, value in figures)} | |")


if __name__ == "__main__":
    cli.guard(main)

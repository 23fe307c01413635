"""Inspection of a data set: its contents and a safe split, as text, JSON and one page of figures.

`inspect_data.py` prints it.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mdiff_jax.data import arrays, colormap, images, native_grid, sources, splits
from mdiff_jax.data.examples import ReadOptions, read_examples
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.progress import doing

USUAL_SIZE = (256, 80)  # rows, frames at most, of the configurations for recordings and of the base model
COMPARISON_SIZE = (32, 256)  # rows, frames at which windows are compared
MAX_WINDOWS = 4000  # that are read, the first of each user
MAX_PAIRS = 120  # of windows for each distance in time
MIN_CORRELATION_GAIN = 0.02  # of the best shift over a typical one, from which on windows count as overlapping
NEAR_DUPLICATE_CORRELATION = 0.98  # from which on windows of two users count as near-duplicates
FRACTIONS = (0.7, 0.1, 0.2)  # of the proposed split
Report = dict[str, Any]


class InspectedData(NamedTuple):
    """Data set as `splits` needs it, with the windows in memory."""

    files: tuple[str, ...]
    users: tuple[str, ...]
    user_ids: np.ndarray
    recordings: tuple[str, ...]
    indices: np.ndarray
    windows: np.ndarray  # (n, F, T), [-1, 1]

    def load(self, rows: np.ndarray) -> np.ndarray:
        """Returns windows (n, F, T, 1) at these rows."""
        return self.windows[rows][..., None]


def inspect(path: Path, stft: arrays.Stft = arrays.DEFAULT_STFT) -> tuple[Report, InspectedData]:
    """Reads the data set at `path`, or the windows of one person there, and measures them; InputError for anything that
    cannot be used.
    """
    root, items = sources.scan_people_or_one(path, stft)
    ignored = sources.ignored_files(root, items, path if root == path else path.resolve())
    chosen = limit_windows(items)
    windows, common = read_windows(root, chosen, stft)
    data = describe_windows(chosen, windows)
    report: Report = {"path": str(path), "windows": len(items), "windows_measured": len(chosen), "ignored": ignored}
    report |= {"users": {user: user_statistics(items, user) for user in data.users}}
    sizes = [u["windows"] for u in report["users"].values()]
    report |= {"imbalance": round(max(sizes) / min(sizes), 2)} | common
    with doing("comparing windows"):
        report |= {"overlap": measure_overlap(data), "near_duplicates": find_near_duplicates(data)}
        return report | {"split": propose_split(data, report["overlap"])}, data


def limit_windows(items: list[sources.WindowSource]) -> list[sources.WindowSource]:
    """Keeps the first windows of each user, equally many, `MAX_WINDOWS` in all."""
    most = max(2, MAX_WINDOWS // len({item.user for item in items}))
    seen: Counter[str] = Counter()
    chosen = []
    for item in items:
        seen[item.user] += 1
        if seen[item.user] <= most:
            chosen.append(item)
    return chosen


def read_windows(root: Path, items: list[sources.WindowSource], stft: arrays.Stft) -> tuple[np.ndarray, Report]:
    """Reads windows (n, F, T) at `COMPARISON_SIZE`; returns them with colormap, its residual, sizes and notes."""
    windows: list[np.ndarray] = []
    for example in read_examples(root, items, ReadOptions(COMPARISON_SIZE, stft=stft)):
        windows.append(example.window[..., 0])
        common = example.metadata
    with doing("measuring colors and frames"):
        return np.stack(windows), describe_files(root, items, common)


def describe_files(root: Path, items: list[sources.WindowSource], common: dict[str, Any]) -> Report:
    """Returns how files are drawn: colormap, its residual, sizes, native grid; `common` is what all windows share."""
    paths = [sources.file_path(root, item) for item in items if item.row < 0]
    colored = [image for image in map(images.read_image, paths[:: max(1, len(paths) // 60)]) if image.ndim == 3]
    off = [colormap.residual(image, common["colormap"]) for image in colored]
    report = {"colormap": common["colormap"] if paths else None, "original_size": common["original_size"]}
    report |= {"residual": {"mean": round(float(np.mean(off)), 1), "max": round(max(off), 1)} if off else None}
    report |= native_grid.describe_files(paths, common["colormap"])
    return report | {name: common[name] for name in ("zero_doppler", "notes")}


def describe_windows(items: list[sources.WindowSource], windows: np.ndarray) -> InspectedData:
    """Puts sources and windows (n, F, T) in columns."""
    users = tuple(dict.fromkeys(item.user for item in items))
    return InspectedData(
        tuple(item.file for item in items),
        users,
        np.array([users.index(item.user) for item in items]),
        tuple(item.recording for item in items),
        np.array([item.index for item in items]),
        windows,
    )


def user_statistics(items: list[sources.WindowSource], user: str) -> Report:
    """Counts the windows and recordings ('walks') of a user."""
    recordings = Counter(item.recording for item in items if item.user == user)
    return {
        "windows": recordings.total(),
        "walks": len(recordings),
        "longest_walk": max(recordings.values()),
    }


# ----------------------------------------------------------------------------- overlap


def measure_overlap(data: InspectedData) -> Report | None:
    """Measures how far a window moves from index to index, by the shift at which neighbors correlate best.

    None where the order in time is unknown or too few windows follow each other.
    """
    curves = {d: correlation_by_shift(data, d) for d in (1, 2, 3, 4)}
    if curves[1] is None or (data.indices < 0).any():
        return None
    hop = int(np.argmax(curves[1]))
    frames = data.windows.shape[2]
    disjoint = (
        math.ceil(frames / hop - 0.1) if hop and curves[1][hop] - np.median(curves[1]) > MIN_CORRELATION_GAIN else 1
    )
    report = {"hop_frames": hop, "frames": frames, "hop": round(hop / frames, 3), "disjoint_at": disjoint}
    best = {d: int(np.argmax(c)) for d, c in curves.items() if c is not None and d < disjoint}
    report |= {"best_shift": {str(d): round(s / frames, 3) for d, s in best.items()}}
    report |= {"correlation": {str(d): round(float(curves[d][s]), 3) for d, s in best.items()}}
    return report | {"correlation_at_wrong_shifts": round(float(np.median(curves[1])), 3)}


def correlation_by_shift(data: InspectedData, d: int) -> Float[np.ndarray, " shifts"] | None:
    """Median correlation of windows k and k + d of one recording, with k moved left by 0 … 7/8 of a window."""
    pairs = [
        i
        for i in range(len(data.files) - d)
        if data.user_ids[i] == data.user_ids[i + d]
        and data.recordings[i] == data.recordings[i + d]
        and data.indices[i + d] - data.indices[i] == d
    ]
    if len(pairs) < 5:
        return None
    rows = np.array(pairs)[:: math.ceil(len(pairs) / MAX_PAIRS)]
    first, second, frames = data.windows[rows], data.windows[rows + d], data.windows.shape[2]
    shifts = range(frames * 7 // 8)
    return np.array([np.median(pair_correlation(first[:, :, s:], second[:, :, : frames - s])) for s in shifts])


def pair_correlation(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " pairs"]:
    """Normalized cross-correlation of pairs (n, F, T)."""
    return (splits.standardize(a) * splits.standardize(b)).sum(1)


# ----------------------------------------------------------------------------- duplicates, splits


def find_near_duplicates(data: InspectedData) -> list[Report]:
    """Lists windows of different users that are almost the same, the most similar first."""
    n, rows, frames = data.windows.shape
    x = splits.standardize(data.windows.reshape(n, rows // 4, 4, frames // 8, 8).mean((2, 4)))
    found = []
    for start in range(0, n, 512):
        alike = x[start : start + 512] @ x.T
        alike[data.user_ids[start : start + 512, None] >= data.user_ids[None]] = 0
        found += [
            (float(alike[i, j]), start + int(i), int(j)) for i, j in np.argwhere(alike > NEAR_DUPLICATE_CORRELATION)
        ]
    best = sorted(found, reverse=True)
    return [{"files": [data.files[i], data.files[j]], "correlation": round(c, 4)} for c, i, j in best]


def propose_split(data: InspectedData, overlap: Report | None) -> Report:
    """Sizes of a safe split, or the reason why there is none."""
    gap = overlap["disjoint_at"] - 1 if overlap else splits.DEFAULT_GAP
    try:
        split = splits.make_split(data, fractions=FRACTIONS, by="auto", gap=gap, seed=0)
    except InputError as error:
        return {"gap": gap, "refused": str(error)}
    sizes = {name: len(files) for name, files in split.items()}
    random = splits.make_split(data, fractions=FRACTIONS, by="random_that_leaks", gap=gap, seed=0)
    shares = {
        "leaking": splits.leaking_share(data, split, gap),
        "leaking_if_random": splits.leaking_share(data, random, gap),
    }
    sizes["dropped"] = len(data.files) - sum(sizes.values())
    return {"gap": gap} | sizes | {k: None if math.isnan(v) else round(v, 3) for k, v in shares.items()}


# ----------------------------------------------------------------------------- output


def format_report(report: Report) -> str:
    """Formats a report as text of several lines."""
    users = "one user" if len(report["users"]) == 1 else f"{len(report['users'])} users"
    lines = [f"{report['path']}: {report['windows']} windows of {users}"]
    if report["windows_measured"] < report["windows"]:
        lines += [f"  measured on the first {report['windows_measured']}, equally many of each user"]
    lines += [*([report["ignored"]] if report["ignored"] else []), *report["notes"]]
    for user, u in report["users"].items():
        lines += [f"  {user:16s} windows: {u['windows']:6d}, recordings: {u['walks']:4d}, longest: {u['longest_walk']}"]
    height, width = report["original_size"]
    lines += [f"size: {height} rows, {width} columns; most / fewest windows of a user: {report['imbalance']}"]
    if report["residual"]:
        off = report["residual"]
        lines += [f"colormap: {report['colormap']}, off by {off['mean']} of 255 on average, {off['max']} at most"]
    lines += format_native_grid(report)
    lines += format_overlap(report["overlap"])
    twins = report["near_duplicates"]
    lines += [f"near-duplicates across users: {len(twins)}"]
    lines += [f"  {a} and {b}: {t['correlation']}" for t in twins[:5] for a, b in [t["files"]]]
    s = report["split"]
    if "refused" in s:
        return "\n".join([*lines, f"no safe split: {s['refused']}"])
    lines += [f"safe split: train {s['train']}, validation {s['validation']}, test {s['test']}, dropped {s['dropped']}"]
    if s["leaking"] is not None:
        shares = f"{s['leaking']:.1%}; of a random split's: {s['leaking_if_random']:.1%}"
        lines += [f"  test windows that share pixels with training windows: {shares}"]
    return "\n".join(lines)


def format_native_grid(report: Report) -> list[str]:
    """Formats how files are written, and the native grid, as lines of text."""
    if not (found := report["file_format"]):
        return []
    written = f"JPEG, colors {found['subsampling']}" if found["suffix"] == "jpg" else "not as JPEG"
    if not report["native_frames"]:
        return [f"files: {written}; no blocks of equal columns that show the time frames before stretching"]
    edges, rows = "soft" if found["soft_edges"] else "sharp", "" if found["row_blocks"] else "not "
    low, median, high = report["native_frames"]
    return [
        f"files: {written}; rows are {rows}repeated, frames are blocks of columns with {edges} edges",
        f"native time frames, before stretching: {low} to {high}, median {median}",
        f"  {advise_size(*report['image_size'])}",
    ]


def advise_size(rows: int, frames: int) -> str:
    """Says which size of a model keeps so many rows and frames; where rows can be resized to those of the base model,
    to start from it is worth more than to keep them.
    """
    usual_rows, most_frames = USUAL_SIZE
    if not usual_rows // 2 <= rows <= usual_rows:
        return (
            f"a model keeps rows and frames with --config.data.image_size='({rows}, {frames})' --config.init_from=none"
        )
    resized = "" if rows == usual_rows else f", its {usual_rows} rows resized from {rows}"
    if frames <= most_frames:
        return f"data.image_size can stay {USUAL_SIZE}: it holds these frames{resized}"
    return f"a model keeps the frames with --config.data.image_size='({usual_rows}, {frames})'{resized}"


def format_overlap(o: Report | None) -> list[str]:
    """Formats the measured overlap as lines of text."""
    if o is None:
        return ["overlap: not measured (the order in time is unknown, or too few windows follow each other)"]
    if o["disjoint_at"] == 1:
        return ["overlap: none found between consecutive windows"]
    each = ", ".join(f"{o['correlation'][d]} at {d} ({o['best_shift'][d]} of a window)" for d in o["correlation"])
    return [
        f"overlap: each window starts {o['hop']} of a window after the previous one; windows {o['disjoint_at']} or more"
        " indices apart are disjoint",
        f"  correlation after the best shift, by distance: {each}; at wrong shifts {o['correlation_at_wrong_shifts']}",
    ]


def plot_report(path: Path, report: Report, data: InspectedData) -> None:
    """Plots one page: a window of each user, windows per user, and correlation by shift."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    top, bottom = np.asarray(figure.subfigures(2, 1))
    shown = data.users[:10]
    for axes, user in zip(np.ravel(top.subplots(2, 5)), [*shown, *[None] * (10 - len(shown))], strict=True):
        axes.set_axis_off()
        if user is not None:
            rows = np.flatnonzero(data.user_ids == data.users.index(user))
            window = (data.windows[rows[len(rows) // 2]] + 1) / 2
            axes.imshow(colormap.to_rgb(window, report["colormap"] or "jet"), aspect="auto", interpolation="nearest")
            axes.set_title(user, fontsize=8)
    left, right = bottom.subplots(1, 2)
    left.bar(range(len(data.users)), [u["windows"] for u in report["users"].values()])
    left.set(xlabel="user", ylabel="windows")
    for d in (1, 2, 3, 4):
        curve = correlation_by_shift(data, d) if (data.indices >= 0).all() else None
        if curve is not None:
            right.plot(np.arange(len(curve)) / COMPARISON_SIZE[1], curve, label=f"{d} apart")
    right.set(xlabel="shift, share of a window", ylabel="median correlation")
    right.legend(fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=100)

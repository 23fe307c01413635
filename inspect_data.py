"""Inspects a folder of recordings before training: what it holds, a safe split, and whether it is enough data.

python inspect_data.py --path=recordings [--json=report.json] [--figures=report.png] [--nocurve]
"""

import json
from pathlib import Path

from absl import flags

from mdiff_jax.data import arrays, inspect, long_spectrograms
from mdiff_jax.metrics import learning_curve
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.validation import RANGES

PATH = flags.DEFINE_string("path", None, "Folder or file of recordings, or a folder of one person's files. Required.")
JSON = flags.DEFINE_string("json", None, "File for the report (.json).")
FIGURES = flags.DEFINE_string("figures", None, "File for a page of figures (.png, .pdf).")
CURVE = flags.DEFINE_bool("curve", True, "Also the learning curve: would more windows, walks or augmentation help?")

# --- how arrays are read: as data.stft.* in training
FRAMES = flags.DEFINE_integer("frames", arrays.DEFAULT_STFT.frames, "Frames of a window cut from a long array.")
HOP = flags.DEFINE_integer("hop_frames", arrays.DEFAULT_STFT.hop_frames, "Frames between these windows.")
AXES = flags.DEFINE_enum("array_axes", "auto", long_spectrograms.ARRAY_AXES, "Order of the axes of spectrograms.")

cli.limit(RANGES["data.stft.frames"], FRAMES)
cli.limit(RANGES["data.stft.hop_frames"], HOP)
cli.require_paths(PATH, JSON, FIGURES)


def main() -> None:
    if PATH.value is None:
        raise InputError("--path is missing: give the folder of recordings")
    if FIGURES.value and Path(FIGURES.value).suffix not in (".png", ".pdf"):
        raise InputError(f"--figures={FIGURES.value}: give a file that ends in .png or .pdf")
    stft = arrays.DEFAULT_STFT._replace(frames=FRAMES.value, hop_frames=HOP.value, array_axes=AXES.value)
    report, data = inspect.inspect(Path(PATH.value), stft)
    print(inspect.format_report(report), flush=True)
    if CURVE.value:
        report["enough_data"] = measure_curves(report, data)
    if JSON.value:
        Path(JSON.value).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if FIGURES.value:
        inspect.plot_report(Path(FIGURES.value), report, data)


def measure_curves(report: inspect.Report, data: inspect.InspectedData) -> dict | None:
    """Prints the learning curves and what they advise; returns them, or None where they cannot be measured."""
    try:
        found = learning_curve.measure(data, report["split"]["gap"])
    except InputError as error:
        print(f"learning curve: not measured ({error})")
        return None
    print("\n".join(learning_curve.advise(found)))
    curves = {"windows": found.windows, "walks": found.walks}
    return found._asdict() | {name: curve and curve._asdict() for name, curve in curves.items()}


if __name__ == "__main__":
    cli.run(main)

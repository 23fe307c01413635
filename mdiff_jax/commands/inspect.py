"""Inspects a folder of recordings before training: what it holds, a safe split, and whether it is enough data.

python inspect_data.py --path=recordings [--json=report.json] [--figures=report.png] [--nocurve]
"""

import json
from pathlib import Path

from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.flags import Flags
from mdiff_jax.runtime.progress import doing
from mdiff_jax.validation import CHOICES, RANGES

FLAGS = Flags()

FLAGS.group("recordings")
PATH = FLAGS.path("path", "Folder or file of recordings, or a folder of one person's files. Required.")
CURVE = FLAGS.switch("curve", True, "Also the learning curve: would more windows, walks or augmentation help?")

FLAGS.group("reading of arrays; without a flag, the value of data.stft in configs/default.py")
FRAMES = FLAGS.integer("frames", None, "Frames of a window cut from a long array.", RANGES["data.stft.frames"])
HOP = FLAGS.integer("hop_frames", None, "Frames between these windows.", RANGES["data.stft.hop_frames"])
AXES = FLAGS.choice("array_axes", None, CHOICES["data.stft.array_axes"], "Order of the axes of spectrograms.")

FLAGS.group("output")
JSON = FLAGS.path("json", "File for the report (.json).")
FIGURES = FLAGS.path("figures", "File for a page of figures (.png, .pdf).")


def main() -> None:
    if PATH.value is None:
        raise InputError("--path is missing: give the folder of recordings")
    if FIGURES.value and Path(FIGURES.value).suffix not in (".png", ".pdf"):
        raise InputError(f"--figures={FIGURES.value}: give a file that ends in .png or .pdf")

    with doing("starting", in_logs=False):
        from mdiff_jax.data import arrays, inspect
        from mdiff_jax.metrics import learning_curve

    given = {flag.name: flag.value for flag in (FRAMES, HOP, AXES) if flag.value is not None}
    report, data = inspect.inspect(Path(PATH.value), arrays.DEFAULT_STFT._replace(**given))
    print(inspect.format_report(report), flush=True)
    if CURVE.value:
        try:
            found = learning_curve.add_to_report(report, data)
        except InputError as error:
            print(f"learning curve: not measured ({error})")
        else:
            print("\n".join(learning_curve.advise(found)))
    if JSON.value:
        Path(JSON.value).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    if FIGURES.value:
        with doing("drawing figures"):
            inspect.plot_report(Path(FIGURES.value), report, data)

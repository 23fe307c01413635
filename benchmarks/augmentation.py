"""Measures whether generated windows, added to recorded ones, make classifiers err less on walks they have not seen.

python benchmarks/augmentation.py --path=FOLDER --output=DIR [--config=configs/gait_cpu.py] [--budgets=10,20,50,0]
    [--draws=1] [--seeds=10] [--share=1.0] [--recipes=generated,variations,…]

Nested: for each budget (recorded windows of a user, 0: all) and each draw of them a generator is trained that sees
exactly these, and so do the judges; another draw also splits the walks anew. Rows: recorded windows alone, with
classical augmentations, with the windows of each recipe, with both, and with as many more recorded ones as a ceiling.
Without --path the recordings are those of the configuration. Prints a table and writes it, its numbers and a plot to
--output. The same command resumes after an interruption; `--config` and `--share` may not change in between.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tqdm import tqdm

from mdiff_jax import load, load_config
from mdiff_jax.evaluation import augmentation_study, augmented_set
from mdiff_jax.evaluation.calibration import calibrate
from mdiff_jax.evaluation.recipes import RECIPES, check_recipes, draw_recipes
from mdiff_jax.runtime import cli
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, write_json, write_text
from mdiff_jax.training import train_loop
from mdiff_jax.validation import validate


def generator_config(given: argparse.Namespace, budget: int, draw: int) -> Any:
    """Returns the configuration of a generator."""
    config = load_config(str(given.config))
    if given.path is not None:
        config.data.update(kind="folder", path=str(given.path.absolute()))
    config.data.windows_per_user = budget
    config.seed = draw
    return config


def prepare(given: argparse.Namespace, config: Any) -> augmentation_study.Experiment:
    """Trains a generator and draws from it, where that is not done; returns the experiment."""
    budget = config.data.windows_per_user
    root = given.output / f"budget_{budget}_draw_{config.seed}"
    train_loop.train(config, root)
    model = load(root)
    model = calibrate(model, np.arange(len(model.users)), Workdir(root))
    samples = draw_recipes(model, given.recipes, given.share, root / "samples")
    return augmentation_study.read_experiment(model, budget, root / "judged", samples, given.share)


def compare_choice(experiment: augmentation_study.Experiment, scores: Any) -> str:
    """Returns a line: what `augment.py` would choose, on validation windows, beside what would have been best."""
    rows = [augmented_set.choose(experiment, scores).row, augmented_set.most_accurate(experiment, scores, "test")]
    rates = [f"{row}, {100 * augmented_set.mean_accuracy(scores, row, 'test'):.1f} %" for row in rows]
    return f"{experiment.folder.parent.name}: augment.py chooses {rates[0]} of test windows; the best row {rates[1]}"


def whole_numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=cli.given_path)
    parser.add_argument("--output", type=cli.given_path, required=True)
    parser.add_argument("--config", type=cli.given_path, default=Path(__file__).parents[1] / "configs/gait_cpu.py")
    parser.add_argument("--budgets", type=whole_numbers, default=[10, 20, 50, 0], help="windows of a user; 0: all")
    parser.add_argument("--draws", type=int, default=1, help="choices of windows for each budget")
    parser.add_argument("--seeds", type=int, default=10, help="of the judges")
    parser.add_argument("--share", type=float, default=1.0, help="of added windows, of the recorded ones of each user")
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=list(RECIPES), help=", ".join(RECIPES))
    given = parser.parse_args()
    check_recipes(given.recipes)
    if min(given.draws, given.seeds, len(given.budgets)) < 1 or not 0 < given.share < math.inf:
        raise InputError("--budgets, --draws, --seeds and --share are to be above 0: give others")

    # ------------------------------------------------------------------- generators
    configs = [generator_config(given, budget, draw) for budget in given.budgets for draw in range(given.draws)]
    for config in configs:
        validate(config)
    with tqdm(configs, desc="generators", file=sys.stderr) as bar:
        experiments = [prepare(given, config) for config in bar]

    # ------------------------------------------------------------------- judges
    total = sum(e.count_rows() for e in experiments) * given.seeds * len(augmentation_study.JUDGES)
    with tqdm(total=total, desc="training judges", unit="judge", file=sys.stderr) as bar:
        scores = [augmentation_study.run_experiment(e, given.seeds, bar.update) for e in experiments]

    # ------------------------------------------------------------------- table
    lines = []
    for i in range(0, len(configs), given.draws):
        draws = slice(i, i + given.draws)
        lines += augmentation_study.summarize_budget(experiments[draws], scores[draws])
    table = augmentation_study.format_table(lines)
    combined = [augmentation_study.COMBINED.format(name) for name in given.recipes]
    chosen = augmentation_study.format_choices(experiments, scores)
    own = "\n".join(map(compare_choice, experiments, scores))
    text = f"{table}\n\n{chosen}\n{own}\n\n{augmentation_study.format_needs(lines, combined)}\n"
    write_text(given.output / "augmentation.md", text)
    write_json(given.output / "augmentation.json", {"lines": [augmentation_study.to_record(line) for line in lines]})
    shown = [augmentation_study.BEST, *given.recipes, *combined, augmentation_study.MORE]
    augmentation_study.plot_lines(given.output / "augmentation.png", lines, shown)
    print(f"\n{text}\nwritten to {given.output}: augmentation.md, augmentation.json, augmentation.png")


if __name__ == "__main__":
    cli.guard(main)

"""Shapes of the decoder by what each draws after equal time: python benchmarks/network_shapes.py --path=FOLDER
    --output=runs/shapes [--steps=600] [--shapes=as_it_is,wider,…] [--config=gait_cpu] [--samples=33] [--seed=0]

Encoder and prior are trained once, for all. Each shape's decoder is trained from random numbers for as many steps as
take the time of --steps of the configuration's own shape: how long a step takes is counted in seconds of the machine's
cores, shapes in turn, which other work disturbs least. Then it draws, and is put through `evaluate.py`. In OUTPUT
table.md compares the shapes that are finished. The same command resumes.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from time_to_quality import FIGURES, REMEDY, Cell, listed, run_tasks

from mdiff_jax.runtime import cli, huge_pages
from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.runtime.errors import InputError
from mdiff_jax.runtime.workdir import Workdir, read_json, write_json, write_text

AS_IT_IS = "as_it_is"
SHAPES: dict[str, dict[str, Any]] = {  # keys of the decoder
    AS_IT_IS: {},
    "wider": {"channels": (96, 192)},
    "narrower": {"channels": (48, 96)},
    "three_levels": {"channels": (48, 96, 192), "attention": (False, False, True)},
    "patches_4x4": {"patch": (4, 4), "channels": (32, 64, 128), "attention": (False, False, True)},
    "patches_16x4": {"patch": (16, 4), "channels": (128, 192)},
    "two_blocks": {"blocks": 2},
    "attention_everywhere": {"attention": (True, True)},
    "no_attention": {"attention": (False, False)},
    "more_fine_layers": {"fine_channels": 48},
    "fewer_fine_layers": {"fine_channels": 16},
}
SHOWN = tuple(name for name in FIGURES if name != "suspected copies of a part")
TIMED_STEPS = 5
DRAWN_TIMESTEPS = 16  # more of them draw no better: docs/timesteps.md


class Study(NamedTuple):
    config: str
    path: str
    output: Path
    shapes: tuple[str, ...]
    steps: int  # of the configuration's own shape
    samples: int  # of each user
    seed: int

    @property
    def shared(self) -> Path:
        """The working directory whose data, split, encoder and prior all take."""
        return self.output / "shared"


def configuration(study: Study, shape: str) -> Any:
    config = load_config(study.config)
    config.seed, config.init_from = study.seed, "none"
    if study.path:
        config.data.path = study.path
    config.decoder.update(SHAPES[shape])
    config.decoder.sample_timesteps = min(config.decoder.sample_timesteps, DRAWN_TIMESTEPS)
    return config


def train_shared(study: Study) -> None:
    """Trains encoder and prior."""
    from mdiff_jax.training import train_loop

    config = configuration(study, AS_IT_IS)
    for config.stage in ("encoder", "prior"):
        train_loop.train(config, study.shared)
    write_json(study.shared / "done.json", {})


def time_steps(study: Study) -> None:
    """Writes how many seconds of the cores a training step of each shape takes, the least of several."""
    import jax
    from step_parts import make_parts

    steps = {}
    for shape in study.shapes:
        config = configuration(study, shape)
        steps[shape] = make_parts(config, config.decoder.batch_size, only="whole step")["whole step"]
        jax.clear_caches()
    seconds: dict[str, list[float]] = {shape: [] for shape in steps}
    for _ in range(TIMED_STEPS):
        for shape, step in steps.items():
            began = time.process_time()
            step()
            seconds[shape].append(time.process_time() - began)
    write_json(study.output / "pace.json", {shape: min(values) for shape, values in seconds.items()})


def train_shape(study: Study, shape: str) -> None:
    """Trains the decoder of a shape for its share of steps."""
    from mdiff_jax.training import train_loop

    pace, root = read_json(study.output / "pace.json", REMEDY), study.output / shape
    config = configuration(study, shape)
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(study.shared, root, ignore=shutil.ignore_patterns("config.json", "cache", "done.json"))
    an_epoch = len(read_json(Workdir(root).split, REMEDY)["train"]) // config.decoder.batch_size  # steps
    config.stage = "decoder"
    config.decoder.epochs = max(1, round(study.steps * pace[AS_IT_IS] / pace[shape] / an_epoch))
    config.checkpoint_every = -(-config.decoder.epochs * an_epoch // 4)
    adopt_stages(root, config)
    train_loop.train(config, root)
    write_json(root / "training.json", {"epochs": config.decoder.epochs})


def adopt_stages(root: Path, config: Any) -> None:
    """Writes into the checkpoints of encoder and prior, which another decoder changes nothing of, that they belong to
    this configuration: else they are refused.
    """
    from mdiff_jax.config import to_plain_dict
    from mdiff_jax.runtime.checkpointing import META_CHECKSUM

    for path in root.glob("*/checkpoints/*/meta/metadata"):
        meta = read_json(path, REMEDY)
        write_json(
            path, {key: x for key, x in meta.items() if key != META_CHECKSUM} | {"config": to_plain_dict(config)}
        )


def draw(study: Study, shape: str) -> None:
    """Draws windows and measures how long one takes, in seconds of the cores."""
    from mdiff_jax import load
    from mdiff_jax.evaluation import calibration
    from mdiff_jax.inference import sample_writer

    root = study.output / shape
    model = load(root)
    model = calibration.calibrate(model, np.arange(len(model.users)), Workdir(root))
    sample_writer.write_samples(model, model.users, study.samples, study.seed, root / "samples" / "drawn")
    size = model.config.sample.batch_size
    requests = model.requests(model.users, range(-(-size // len(model.users))))[:size]
    spent = []
    for _ in range(3):
        began = time.process_time()
        for _ in model.run(requests, study.seed):
            pass
        spent.append((time.process_time() - began) / len(requests))
    write_json(root / "drawing.json", {"seconds": min(spent), "parameters": count_parameters(model)})


def count_parameters(model: Any) -> int:
    import jax

    return sum(x.size for x in jax.tree.leaves(model.params["decoder"]))


def judge(study: Study, shape: str) -> None:
    """Puts what was drawn through `evaluate.py`."""
    from mdiff_jax.evaluation.run import judge_samples

    judge_samples(study.output / shape, study.output / shape / "samples" / "drawn")


def plan_tasks(study: Study) -> list[tuple]:
    """Returns (name, minutes that it is likely to take, file that says it is done, function, arguments) of all."""
    tasks = [
        ("encoder and prior", 6.0, study.shared / "done.json", train_shared, (study,)),
        ("timing steps", 3.0, study.output / "pace.json", time_steps, (study,)),
    ]
    for shape in study.shapes:
        root = study.output / shape
        tasks.append((f"{shape}: training", study.steps / 80, root / "training.json", train_shape, (study, shape)))
        tasks.append((f"{shape}: drawing", 3.0, root / "drawing.json", draw, (study, shape)))
        tasks.append((f"{shape}: judging", 2.0, root / "report.json", judge, (study, shape)))
    return tasks


def best_loss(root: Path) -> float:
    """Returns the lowest loss on validation windows."""
    from mdiff_jax.runtime.metric_writer import read_metrics

    lines = read_metrics(Workdir(root).metrics("decoder"))
    return min(line["validation_loss"] for line in lines if "validation_loss" in line)


def format_table(study: Study, shapes: list[str]) -> str:
    """Returns a Markdown table with a line per figure and a column per shape."""
    pace = read_json(study.output / "pace.json", REMEDY)
    columns: dict[str, dict[str, Any]] = {}
    for shape in shapes:
        root = study.output / shape
        drawn = read_json(root / "drawing.json", REMEDY)
        figures = {(f["metric"], f["judge"]): f for f in read_json(root / "report.json", REMEDY)["figures"]}
        columns[shape] = {
            "parameters, M": f"{drawn['parameters'] / 1e6:.2f}",
            "a step, of the first": f"{pace[shape] / pace[AS_IT_IS]:.2f}",
            "epochs": str(read_json(root / "training.json", REMEDY)["epochs"]),
            "core seconds an image": f"{drawn['seconds']:.2f}",
            "validation loss": f"{best_loss(root):.4f}",
        }
        for name in SHOWN:
            figure = figures.get(FIGURES[name], {})
            columns[shape][name] = str(Cell(figure.get("generated")))
    lines = [
        "| " + " | ".join(["", *(shape.replace("_", " ") for shape in shapes)]) + " |",
        "|---" * (len(shapes) + 1) + "|",
    ]
    lines += [f"| {name} | {' | '.join(columns[shape][name] for shape in shapes)} |" for name in columns[shapes[0]]]
    return "\n".join(lines) + "\n"


def parse(arguments: list[str]) -> Study:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=cli.given_path, required=True)
    parser.add_argument("--path", default="", help="folder of recordings, for a configuration that needs one")
    parser.add_argument("--config", default="gait_cpu")
    parser.add_argument("--shapes", type=listed(str), default=tuple(SHAPES), help=", ".join(SHAPES))
    parser.add_argument("--steps", type=int, default=600, help="of the configuration's own shape")
    parser.add_argument("--samples", type=int, default=33, help="windows drawn of each user")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if strange := set(given.shapes) - set(SHAPES):
        raise InputError(f"--shapes names '{strange.pop()}': give any of {', '.join(SHAPES)}")
    if min(given.steps, given.samples) < 1:
        raise InputError("--steps and --samples are to be above 0: give others")
    shapes = (AS_IT_IS, *(shape for shape in given.shapes if shape != AS_IT_IS))
    return Study(given.config, given.path, given.output, shapes, given.steps, given.samples, given.seed)


def main() -> None:
    huge_pages.ask()
    study = parse(sys.argv[1:])
    study.output.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    for _ in run_tasks(plan_tasks(study)):
        done = [shape for shape in study.shapes if (study.output / shape / "report.json").is_file()]
        if done:
            write_text(study.output / "table.md", format_table(study, done))
    print(f"{format_table(study, list(study.shapes))}\nwritten to {study.output}: table.md", flush=True)


if __name__ == "__main__":
    cli.guard(main)

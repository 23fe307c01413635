"""Flags of the scripts: values out of range, of another kind, and combinations that make no sense."""

from collections.abc import Iterator
from pathlib import Path

from harness import Case, parametrize
from make_recordings import image_folders
from make_workdir import workdir

SAMPLE = {
    "batch_size": ("-3", "0", "1.5", "many", str(10**12)),
    "num_samples_per_user": ("-1", "0", str(10**12), "nan"),
    "seed": ("-1", str(2**40), "1.5", "x"),
    "sample_timesteps": ("0", "-4", "1001", str(10**9), "x"),
    "cond_scale": ("inf", "nan", "-1e9", "1e30", "x"),
    "prior_cond_scale": ("inf", "nan", "1e30"),
    "guidance_interval": ("1", "3,-3", "nan,1", "a,b", "1,2,3"),
    "guidance_rescale": ("2", "-0.1", "nan"),
    "sampler": ("euler", "", "__import__"),
    "eta": ("-1", "2", "nan", "inf"),
    "spacing": ("none", ""),
    "ema_decay": ("0.5", "nan", "2"),
    "precision": ("float8", "", "float64"),
    "user_ids": ("nobody", "", ",", "walker_01,walker_01", "../x", "walker_01,", "walker_01 walker_02"),
    "interpolate": ("walker_01", "walker_01,nobody", "walker_01,walker_02,walker_01", ","),
    "seconds": ("1e5", "0", "-1", "nan", "inf", "1e-9"),
    "like": ("nothing", "/dev/zero", "", "/etc"),
    "filter": ("beauty", "physics,physics,beauty", "all", "hard"),
    "format": ("gif", "exe", ""),
    "npz": ("perhaps",),
    "mat": ("perhaps",),
    "teacher": ("perhaps",),
    "output_dir": ("/dev/null", "/dev/null/x"),
    "nothing": ("1",),
    "workdir": ("nothing", "/dev/null", "/"),
}
COMBINED = {
    "strength alone": "--like=data --strength=2",
    "strength zero": "--like=data --strength=0",
    "strength nan": "--like=data --strength=nan",
    "drawn as nobody": "--like=training --as=nobody --strength=0.5",
    "drawn as no name": "--like=training --as= --strength=0.5",
    "drawn as oneself": "--like=training --user_ids=walker_01 --as=walker_01 --strength=0.5",
    "drawn as somebody at full strength": "--like=training --as=walker_01",
    "soft label gamma": "--like=training --as=walker_01 --strength=0.5 --soft_label_gamma=nan",
    "two modes": "--seconds=5 --interpolate=walker_01,walker_02",
    "interpolate steps": "--interpolate=walker_01,walker_02 --interpolate_steps=0",
    "interpolate steps many": f"--interpolate=walker_01,walker_02 --interpolate_steps={10**9}",
    "window seconds": "--seconds=5 --window_seconds=0",
    "window seconds nan": "--seconds=5 --window_seconds=nan",
    "processes": "--num_processes=2",
    "process outside": "--num_processes=2 --process_id=5 --coordinator_address=localhost:1",
    "no processes": "--num_processes=0 --process_id=0 --coordinator_address=localhost:1",
    "an address": "--num_processes=1 --process_id=0 --coordinator_address=nonsense",
    "a word": "words",
    "two words": "--user_ids walker_01 walker_02",
    "one dash": "-workdir=x -y",
}


def sample_cases() -> Iterator[Case]:
    settings = {f"{flag}={value}": f"--{flag}={value}" for flag, values in SAMPLE.items() for value in values}
    for label, flags in (settings | COMBINED).items():

        def prepare(folder: Path, flags: str = flags) -> list[str]:
            words = flags.split() if not flags.startswith("--user_ids=") else [flags]
            image_folders(folder)
            return ["sample.py", f"--workdir={workdir(folder)}", *words]

        yield Case(label, prepare, short=label in ("batch_size=-3", "seconds=1e5", "cond_scale=inf", "a word"))


@parametrize(sample_cases())
def test_sample(case, judge):
    judge(case)


OTHERS: dict[str, list[str]] = {
    "train nothing": ["train.py"],
    "train without a workdir": ["train.py", "--config=configs/tiny.py"],
    "train without a configuration": ["train.py", "--workdir=run"],
    "train no such file": ["train.py", "--config=nope.py", "--workdir=run"],
    "train a folder": ["train.py", "--config=.", "--workdir=run"],
    "train a device": ["train.py", "--config=/dev/null", "--workdir=run"],
    "train syntax": ["train.py", "--config=syntax.py", "--workdir=run"],
    "train raises": ["train.py", "--config=raises.py", "--workdir=run"],
    "train exits": ["train.py", "--config=exits.py", "--workdir=run"],
    "train empty": ["train.py", "--config=empty.py", "--workdir=run"],
    "train number": ["train.py", "--config=number.py", "--workdir=run"],
    "train half": ["train.py", "--config=half.py", "--workdir=run"],
    "train text": ["train.py", "--config=notes.txt", "--workdir=run"],
    "train unknown flag": ["train.py", "--config=configs/tiny.py", "--workdir=run", "--confg.seed=1"],
    "train a word": ["train.py", "--config=configs/tiny.py", "--workdir=run", "fast"],
    "evaluate nothing": ["evaluate.py"],
    "evaluate no samples": ["evaluate.py", "--workdir=run", "--samples=nothing"],
    "evaluate a device": ["evaluate.py", "--workdir=run", "--samples=/dev/null"],
    "evaluate a text": ["evaluate.py", "--workdir=run", "--samples=notes.txt"],
    "evaluate an empty folder": ["evaluate.py", "--workdir=run", "--samples=home"],
    "evaluate a sweep of nothing": ["evaluate.py", "--workdir=run", "--sweep=beauty"],
    "evaluate augmentation": ["evaluate.py", "--workdir=run", "--augmentation=beauty"],
    "enroll nothing": ["enroll.py"],
    "enroll no name": ["enroll.py", "--workdir=run", "--path=data/anna"],
    "enroll no path": ["enroll.py", "--workdir=run", "--name=carl"],
    "enroll outside": ["enroll.py", "--workdir=run", "--path=data/anna", "--name=../x"],
    "enroll all": ["enroll.py", "--workdir=run", "--path=data/anna", "--name=all"],
    "enroll empty": ["enroll.py", "--workdir=run", "--path=data/anna", "--name="],
    "enroll a twin": ["enroll.py", "--workdir=run", "--path=data/anna", "--name=Walker_01"],
    "enroll somebody known": ["enroll.py", "--workdir=run", "--path=data/anna", "--name=walker_01"],
    "enroll a missing folder": ["enroll.py", "--workdir=run", "--path=nothing", "--name=carl"],
    "enroll a device": ["enroll.py", "--workdir=run", "--path=/dev/zero", "--name=carl"],
    "augment nothing": ["augment.py"],
    "augment no output": ["augment.py", "--workdir=run"],
    "augment magic": ["augment.py", "--workdir=run", "--output=augmented", "--recipes=magic"],
    "augment over a folder": ["augment.py", "--workdir=run", "--output=data"],
    "augment no windows": ["augment.py", "--workdir=run", "--output=augmented", "--share=0"],
    "inspect nothing": ["inspect_data.py"],
    "inspect json nowhere": ["inspect_data.py", "--path=data", "--json=/dev/null/x.json"],
    "inspect figures of no kind": ["inspect_data.py", "--path=data", "--figures=page.exe"],
    "inspect no frames": ["inspect_data.py", "--path=data", "--frames=0"],
    "inspect no steps": ["inspect_data.py", "--path=data", "--hop_frames=x"],
    "inspect axes of no kind": ["inspect_data.py", "--path=data", "--array_axes=sideways"],
    "enroll in the base without a path": ["enroll.py", "--base", "--workdir=people"],
    "enroll in the base by name": ["enroll.py", "--base", "--workdir=people", "--path=data", "--name=carl"],
    "pass on nothing": ["export.py", "--workdir=run"],
    "pass on as a text": ["export.py", "--workdir=run", "--weights=notes.txt"],
    "export nothing": ["-m", "mdiff_jax.data.export"],
    "export walkers -1": ["-m", "mdiff_jax.data.export", "--walkers=-1", "--output=out"],
    "export walkers huge": ["-m", "mdiff_jax.data.export", f"--walkers={10**12}", "--output=out"],
    "export from nowhere": ["-m", "mdiff_jax.data.export", "--source=nothing", "--output=out"],
}
FILES = {
    "syntax.py": "def get_config(:\n",
    "raises.py": "raise RuntimeError('no')\n",
    "exits.py": "import sys\nsys.exit(7)\n",
    "empty.py": "",
    "number.py": "def get_config():\n    return 3\n",
    "half.py": "from ml_collections import ConfigDict\n\n\ndef get_config():\n    return ConfigDict({'seed': 1})\n",
    "notes.txt": "hello",
}
HELP = ("train.py", "sample.py", "evaluate.py", "enroll.py", "augment.py", "export.py", "inspect_data.py")


def other_cases() -> Iterator[Case]:
    for label, command in OTHERS.items():

        def prepare(folder: Path, command: list[str] = command) -> list[str]:
            image_folders(folder)
            if command[0] in ("evaluate.py", "enroll.py", "augment.py"):
                workdir(folder)
            for name, text in FILES.items():
                (folder / name).write_text(text)
            return command

        yield Case(label, prepare, short=label in ("train raises", "enroll outside"))
    for script in HELP:
        yield Case(f"{script} --help", lambda folder, script=script: [script, "--help"], works=True)
    yield Case(
        "train.py --help with keys", lambda folder: ["train.py", "--config=configs/tiny.py", "--help"], works=True
    )


@parametrize(other_cases())
def test_others(case, judge):
    judge(case)

"""Commands and Python of the documents: found, taken apart, and made small enough to be run by tests."""

import itertools
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mdiff_jax.commands.main import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROGRAMS = ("mdiff", "python", "python3", "pytest", "pip", "mkdocs", "source", "cp", "gcloud")
SCRIPT = re.compile(rf"({'|'.join(COMMANDS)})(?:_data)?\.py")


class Block(NamedTuple):
    """A block of code; `language` is '' where it is indented, not fenced."""

    document: Path
    line: int
    language: str
    lines: tuple[str, ...]


class Command(NamedTuple):
    place: str  # document:line of its block
    words: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """Which command of mdiff it is, also as a script; None: another program."""
        if self.words[0] == "mdiff":
            return self.words[1]
        script = SCRIPT.fullmatch(self.words[1]) if self.words[0] == "python" else None
        return script and script[1]

    @property
    def arguments(self) -> list[str]:
        """Of a command of mdiff."""
        return list(self.words[2:])


def blocks(document: Path) -> Iterator[Block]:
    """Yields the blocks of code of a document."""
    lines = iter(enumerate(document.read_text().split("\n"), 1))
    before = ""
    for number, line in lines:
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            kept = itertools.takewhile(lambda pair: pair[1].strip() != "```", lines)
            yield Block(document, number, fence[1], tuple(line for _, line in kept))
        elif line.startswith("    ") and not before.strip():
            kept = itertools.takewhile(lambda pair: pair[1].startswith("    "), lines)
            yield Block(document, number, "", (line, *(line for _, line in kept)))
        before = line


def commands(document: Path) -> Iterator[Command]:
    """Yields the commands in the blocks of a document. Every line of a block of bash is one."""
    for block in blocks(document):
        if block.language not in ("", "bash"):
            continue
        for line in re.sub(r"\\\n\s*", "", "\n".join(block.lines)).split("\n"):
            for part in line.split(" && "):
                first = (part.split() or ["#"])[0].removeprefix(".venv/bin/")
                if first in PROGRAMS:
                    words = shlex.split(part.replace(".venv/bin/", ""), comments=True)
                    if first == "gcloud":  # starts a command on each host
                        words = shlex.split(next(w for w in words if w.startswith("--command="))[len("--command=") :])
                    yield Command(f"{document.name}:{block.line}", tuple(words))
                else:
                    known = block.language == "" or first.startswith("#")
                    assert known, f"{document.name}:{block.line}: {part!r} is of no program that tests know"


def snippets(document: Path) -> Iterator[Block]:
    """Yields the blocks of Python."""
    for block in blocks(document):
        if block.language == "python" or (block.language == "" and re.match(r"    (from|import) ", block.lines[0])):
            yield block


def python_of(snippet: Block) -> str:
    """Returns the text of a block of Python."""
    return textwrap.dedent("\n".join(snippet.lines))


# ----------------------------------------------------------------------------- small form

SMALL = {  # flags that go over those of a document
    "train": {"config": "small_run.py", "workdir": "trained"},
    "sample": {"num_samples_per_user": "1", "sample_timesteps": "2"},
    "augment": {"seeds": "1", "share": "0.1", "recipes": "generated,variations"},
    "enroll": {"name": "NEW"},
    "mdiff_jax/data/export.py": {"walkers": "2", "recordings": "1", "windows": "2", "output": "exported"},
    "benchmarks/difficulty.py": {"users": "2", "windows": "6", "seeds": "0"},
    "benchmarks/endurance.py": {"steps": "3", "precisions": "float32"},
    "benchmarks/layer_costs.py": {"batch": "1", "repetitions": "1"},
    "benchmarks/page_faults.py": {"config": "small_run.py", "batch": "2", "repetitions": "1"},
    "benchmarks/profile_step.py": {"config": "small_run.py", "batch": "2", "steps": "2"},
    "benchmarks/step_parts.py": {"config": "small_run.py", "batch": "2", "repetitions": "1"},
}
NEW_FILES = {"output_dir": "drawn", "weights": "exported.safetensors"}  # where documents name what is there by then
SMALL_SWEEP = {"sweep_count": "1", "sweep_steps": "2", "sweep_samplers": "ddim", "sweep_scales": "1"}
NOT_RUN = {  # only their flags are checked
    "pip": "needs an index of packages",
    "source": "is of a shell",
    "cp": "is of Kaggle's folders",
    "python3": "makes the environment that tests run in",
    "pytest": "tests run by themselves",
    ".ci/release.py": "changes the repository; tests/test_ci.py runs it",
    "tests/kills.py": "kills trainings for minutes",
    "benchmarks/augmentation.py": "tests/evaluation/test_augmentation_study.py runs it",
    "benchmarks/compiler.py": "tests/test_compiler.py runs it",
    "benchmarks/network_shapes.py": "tests/test_time_to_quality.py runs it",
    "benchmarks/newcomer.py": "trains several models",
    "benchmarks/sample.py": "needs PyTorch and diffusers",
    "benchmarks/sampling_at_scale.py": "draws thousands of windows and kills samplings",
    "benchmarks/simulated_against_recorded.py": "needs recordings that can be told apart",
    "benchmarks/time_to_quality.py": "needs PyTorch and diffusers",
    "benchmarks/train_step.py": "needs PyTorch and diffusers",
    "benchmarks/waiting.py": "runs all commands, for minutes",
}


def program(command: Command) -> str:
    """Returns what a command runs: the name of a command of mdiff, a file of the repository, or a program."""
    first, *rest = command.words
    if "pytest" in command.words[:3]:
        return "pytest"
    if first == "python" and rest[0] == "-m":
        return f"{rest[1].replace('.', '/')}.py"
    return command.name or (rest[0] if first == "python" else first)


def small(command: Command) -> tuple[str, ...]:
    """Returns the program and the flags of a command that computes little: less of all, other networks in training."""
    name = program(command)
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in command.words if word.startswith("--"))
    flags |= {"workdir": f"runs/{Path(flags['workdir']).name}"} if "workdir" in flags else {}
    flags |= SMALL.get(name, {}) | {key: value for key, value in NEW_FILES.items() if key in flags}
    if "sweep" in flags:
        flags |= SMALL_SWEEP
    if "base" in flags:
        flags.pop("name", None)
    if "config.stage" in flags:
        flags["config.stage"] = "all"  # of which the others are small
    if "config.distill.curriculum" in flags:
        flags["config.distill.curriculum"] = "((2, 1), (1, 1))"
    if "config.decoder.channels" in flags:
        flags["config.decoder.channels"] = "(4,)"
    if "config.data.windows_per_user" in flags:
        flags["config.data.windows_per_user"] = "2"
    if name == "train" and "config.data.path" in flags:
        flags |= {"config.data.kind": "folder", "config.data.path": "recordings"}
    for flag in ("coordinator_address", "num_processes", "process_id"):  # tests/runtime/test_processes.py runs several
        flags.pop(flag, None)
    return (name, *(f"--{key}={value}" if value else f"--{key}" for key, value in sorted(flags.items())))

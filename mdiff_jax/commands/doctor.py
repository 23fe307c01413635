"""Says what this machine and installation are, and whether the compiler's numbers are right; exits with 1 if not well.

mdiff doctor
"""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from mdiff_jax.runtime.flags import Flags
from mdiff_jax.runtime.progress import doing
from mdiff_jax.runtime.version import VERSION

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
QUICK = ("rows", "judge")  # of the cases of compiler_check: those that take seconds

FLAGS = Flags()


def main() -> None:
    problems = []
    for name, text, problem in findings():
        print(f"{name:<13}{text}{f'  WRONG: {problem}' if problem else ''}", flush=True)
        problems += [name] if problem else []
    print(f"{'all in all':<13}{'all is well' if not problems else 'not well: ' + ', '.join(problems)}", flush=True)
    sys.exit(1 if problems else 0)


def findings() -> Iterator[tuple[str, str, str | None]]:
    """Yields (subject, what is so, what is wrong with it or None), the quick ones first."""
    yield "mdiff_jax", f"{VERSION} in {Path(__file__).parents[1]}", None
    yield "Python", f"{platform.python_version()} in {sys.prefix}", None
    yield "libraries", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES), None
    yield "machine", f"{platform.system()} {platform.release()}, {platform.machine()}, {usable_cores()} cores", None
    yield "memory", describe_memory(), None
    with doing("looking for devices"):
        devices, cache = describe_devices(), describe_cache()
    yield devices
    yield "cache", cache, None
    with doing("reading the base model"):
        base_model = check_base_model()
    yield base_model
    with doing("comparing compiled numbers with those of single operations"):
        numbers = check_numbers()
    yield numbers


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_memory() -> str:
    """Returns the memory of this machine and what is free."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = [line.split()[1] for line in read_lines(Path("/proc/meminfo")) if line.startswith("MemAvailable")]
    return f"{total:.1f} GiB" + (f", {int(free[0]) / 2**20:.1f} free" if free else "")


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a file of the system, none if it is not there."""
    return path.read_text().splitlines() if path.is_file() else []


def describe_devices() -> tuple[str, str, str | None]:
    """Says what JAX computes on; wrong is a GPU that it does not use."""
    import jax

    try:
        devices = jax.local_devices()
    except RuntimeError as error:
        return "devices", "none", " ".join(str(error).split())
    kinds = sorted({device.device_kind for device in devices})
    text = f"{len(devices)} of {devices[0].platform} ({', '.join(kinds)})"
    unused = Path("/dev/nvidiactl").exists() and devices[0].platform == "cpu" and not os.environ.get("JAX_PLATFORMS")
    return "devices", text, "there is a GPU: pip install 'jax[cuda12]' of the same version" if unused else None


def describe_cache() -> str:
    """Says where compiled programs are kept."""
    import jax

    return jax.config.values["jax_compilation_cache_dir"] or "of each working directory, WORKDIR/cache"


def check_base_model() -> tuple[str, str, str | None]:
    """Says whether the base model is whole."""
    from mdiff_jax.inference import base_model
    from mdiff_jax.runtime.errors import InputError

    try:
        model = base_model.load_base()
    except InputError as error:
        return "base model", str(base_model.FOLDER), str(error)
    rows, frames = model.config.data.image_size
    return "base model", f"whole, windows of {rows} x {frames}", None


def check_numbers() -> tuple[str, str, str | None]:
    """Says whether compiled functions compute what single operations do."""
    from mdiff_jax.training import compiler_check

    case, worst = max(compiler_check.check(QUICK), key=lambda pair: pair[1])
    text = f"differ from single operations by {worst:.0e} at most ({case})"
    wrong = "this version of jaxlib computes wrong numbers: pip install another"
    return "numbers", text, None if worst < compiler_check.TOLERANCE else wrong

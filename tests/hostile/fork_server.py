"""Runs commands of the project, each in a forked process that may write below one folder only; imports are done once.

Reads one JSON object a line: {"arguments", "folder", "output", "seconds"}; answers {"status", "seconds", "peak"}.
"""

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import runpy
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18


def import_all() -> None:
    """Imports what the scripts import; no device is opened before the fork."""
    import mdiff_jax

    for module in pkgutil.walk_packages(mdiff_jax.__path__, "mdiff_jax."):
        importlib.import_module(module.name)


def confine(folder: str) -> None:
    """Makes everything but `folder` read-only for this process, where the system allows it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: bytes | None, target: str, flags: int) -> None:
        if libc.mount(source, target.encode(), None, flags, None):
            raise OSError(ctypes.get_errno(), "mount")

    with contextlib.suppress(OSError):
        if libc.unshare(CLONE_NEWNS) == 0:
            mount(b"none", "/", MS_REC | MS_PRIVATE)
            mount(folder.encode(), folder, MS_BIND)
            mount(None, "/", MS_REMOUNT | MS_BIND | MS_RDONLY)


def run_child(arguments: list[str], folder: str, output: str) -> None:
    """Becomes the command: `arguments` begin with a script of the project or with -m and a module."""
    os.setsid()
    home = Path(folder) / "home"
    home.mkdir(exist_ok=True)
    os.environ |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu"}
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    confine(folder)
    os.chdir(folder)
    status = 1
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.modules.pop(arguments[1], None)
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [str(ROOT / arguments[0]), *arguments[1:]]
            runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def wait(child: int, seconds: float) -> tuple[int, int]:
    """Returns (status, peak bytes) of a child and the processes it waited for; ends it after `seconds` (-9)."""
    deadline = time.monotonic() + seconds
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            deadline += seconds
        time.sleep(0.02)


def main() -> None:
    import_all()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request, began = json.loads(line), time.monotonic()
        child = os.fork()
        if child == 0:
            run_child(request["arguments"], request["folder"], request["output"])
        status, peak = wait(child, request["seconds"])
        print(json.dumps({"status": status, "seconds": time.monotonic() - began, "peak": peak}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()

"""Decoding of array files, .npy, .npz, .mat, .h5 and captures of a DCA1000 (.bin), that nobody vouches for.

Nothing is unpickled, no other file is read, and what the arrays take is known before memory is taken for them.
"""

import atexit
import contextlib
import functools
import io
import json
import math
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdiff_jax.data import dca1000
from mdiff_jax.runtime.errors import InputError, one_line
from mdiff_jax.runtime.workdir import NPY_HEADERS

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", dca1000.SUFFIX)
MAX_BYTES = 4 * 2**30  # of all arrays of a file, decoded
MAX_COMPRESSION = 100  # times that they may be larger than on disk …
SMALL_BYTES = 2**28  # … where they are larger than this
DECODER_SECONDS = 25  # for reading a .mat or .h5 file
DECODER_BYTES = 2**29  # that the process for these may take, besides three times the arrays


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Loads all arrays of a file by name; the last file is cached. InputError for a file that cannot be read."""
    with refuse_unreadable(path):
        return _load_cached(path, signature(path))


def files_of(path: Path) -> list[Path]:
    """Returns the files that the arrays of a file are read from: itself, and where it has one its description."""
    beside = dca1000.description_file(path)
    return [path, beside] if path.suffix.lower() == dca1000.SUFFIX and beside.exists() else [path]


def signature(path: Path) -> tuple[tuple[int, int], ...]:
    """What a file that was read is known by while it has not changed."""
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in map(Path.stat, files_of(path)))


@contextlib.contextmanager
def refuse_unreadable(path: Path) -> Iterator[None]:
    """Turns whatever is raised while an array file is read into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # readers of these formats raise anything on damaged files
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"'{path}' cannot be read ({reason}): restore it or remove it") from None


@functools.lru_cache(maxsize=1)
def _load_cached(path: Path, known_by: tuple) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"'{path}' is no regular file: give a file of arrays")
    check_size(path.stat().st_size, path)
    suffix = path.suffix.lower()
    if suffix == dca1000.SUFFIX:
        check_size(2 * path.stat().st_size, path)  # complex64 of pairs of int16
        return dca1000.load_capture(path)
    if suffix == ".npy":
        with path.open("rb") as file:
            check_size(claimed_size(file), path)
        return {"array": np.array(np.lib.format.open_memmap(path, "r"))}
    if suffix == ".npz":
        return load_npz(path)
    return DECODER.load(path)


def size_limit(path: Path) -> int:
    """Bytes that the arrays of a file may take, all together. Holes in the file count as compressed."""
    stat = path.stat()
    stored = min(stat.st_size, 512 * stat.st_blocks) if stat.st_blocks else stat.st_size
    return min(MAX_BYTES, max(SMALL_BYTES, MAX_COMPRESSION * stored))


def check_size(size: int, path: Path) -> None:
    """InputError for more bytes than `size_limit`."""
    if size > (limit := size_limit(path)):
        claim = f"{min(size / 2**30, 1e9):.4g} GiB of numbers from {path.stat().st_size} bytes"
        raise InputError(f"'{path}' claims {claim}: give at most {limit / 2**30:.3g} GiB in a file")


def claimed_size(file: io.BufferedIOBase) -> int:
    """Bytes of the array that the header of .npy claims."""
    shape, _, dtype = NPY_HEADERS[np.lib.format.read_magic(file)](file)
    return math.prod(map(int, shape)) * dtype.itemsize


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Loads .npz; the sizes that its directory and headers claim are checked before anything is allocated."""
    with zipfile.ZipFile(path) as archive:
        check_size(sum(info.file_size for info in archive.infolist()), path)
        claimed = 0
        for name in archive.namelist():
            with archive.open(name) as member:
                claimed += claimed_size(member)  # type: ignore[arg-type]  # a ZipExtFile, which is one
        check_size(claimed, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# ----------------------------------------------------------------------------- .mat and .h5


class Decoder:
    """The process of `array_decoder`: started when it is needed, and again when a file has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def process(self) -> subprocess.Popen:
        """Returns the running process."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            # -P: modules in the current folder are not imported. A session of its own: Ctrl-C is not for it.
            command = [sys.executable, "-P", str(Path(__file__).with_name("array_decoder.py"))]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would claim memory
            self._process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        return self._process

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in filter(None, (self._process.stdin, self._process.stdout)):
                with contextlib.suppress(OSError):  # what was not sent
                    pipe.close()
            self._process = None

    def load(self, path: Path) -> dict[str, np.ndarray]:
        """Loads a file; InputError for one that cannot be read, ends the process, or takes it too long."""
        process, limit = self.process(), size_limit(path)
        request = {"path": str(path.absolute()), "limit": limit, "memory": DECODER_BYTES + 3 * limit}
        assert process.stdin and process.stdout
        alarm = threading.Timer(DECODER_SECONDS, process.kill)
        alarm.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            reply = json.loads(process.stdout.readline())
            arrays = {name: np.array(texts, object) for name, texts in reply.get("texts", {}).items()}
            for name, dtype, shape in reply.get("arrays", []):
                data = bytearray(math.prod(shape) * np.dtype(dtype).itemsize)
                if process.stdout.readinto(data) != len(data):  # type: ignore[attr-defined]
                    raise EOFError
                arrays[name] = np.frombuffer(data, dtype).reshape(shape)
        except (OSError, ValueError, EOFError):
            self.close()
            raise InputError(f"'{path}' crashes its reader, or takes it too long: save it anew or remove it") from None
        finally:
            alarm.cancel()
        if "refusal" in reply:
            raise InputError(f"'{path}': {reply['refusal']}")
        if "error" in reply:
            raise InputError(f"'{path}' cannot be read ({reply['error']}): restore it or remove it")
        return arrays


DECODER = Decoder()
atexit.register(DECODER.close)

"""Decoding of array files, .npy, .npz, .mat and .h5, that nobody vouches for.

Nothing is unpickled, no other file is read, and what the arrays take is known before memory is taken for them.
"""

import atexit
import contextlib
import functools
import json
import math
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mdiff_jax.runtime.errors import InputError, one_line

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5")
MAX_BYTES = 4 * 2**30  # of all arrays of a file, decoded
MAX_COMPRESSION = 100  # times that they may be larger than on disk …
SMALL_BYTES = 2**28  # … where they are larger than this
DECODER_SECONDS = 25  # for reading a .mat or .h5 file
DECODER_BYTES = 2**29  # that the process for these may take, besides three times the arrays


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Loads all arrays of a file by name; the last file is cached. InputError for a file that cannot be read."""
    with refuse_unreadable(path):
        stat = path.stat()
        return _load_cached(path, stat.st_mtime_ns, stat.st_size)


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
def _load_cached(path: Path, modified_ns: int, size: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"'{path}' is no regular file: give a file of arrays")
    check_size(size, path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = np.lib.format.open_memmap(path, "r")
        return {"array": np.array(array)}
    if suffix == ".npz":
        return load_npz(path)
    return load_decoded(path)


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


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Loads .npz; the sizes that its directory and headers claim are checked before anything is allocated."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with zipfile.ZipFile(path) as archive:
        check_size(sum(info.file_size for info in archive.infolist()), path)
        claimed = 0
        for name in archive.namelist():
            with archive.open(name) as member:
                shape, _, dtype = headers[np.lib.format.read_magic(member)](member)
                claimed += math.prod(map(int, shape)) * dtype.itemsize
        check_size(claimed, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# ----------------------------------------------------------------------------- .mat and .h5


def load_decoded(path: Path) -> dict[str, np.ndarray]:
    """Loads .mat or .h5 by `array_decoder`; InputError for a file at which that ends, or takes too long."""
    process, limit = running_decoder(), size_limit(path)
    alarm = threading.Timer(DECODER_SECONDS, process.kill)
    alarm.start()
    try:
        request = {"path": str(path.absolute()), "limit": limit, "memory": DECODER_BYTES + 3 * limit}
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        reply = json.loads(process.stdout.readline())
        if "refusal" in reply:
            raise InputError(f"'{path}': {reply['refusal']}")
        if "error" in reply:
            raise InputError(f"'{path}' cannot be read ({reply['error']}): restore it or remove it")
        arrays = {name: np.array(texts, object) for name, texts in reply["texts"].items()}
        for name, dtype, shape in reply["arrays"]:
            arrays[name] = np.frombuffer(read_exactly(process, dtype, shape), dtype).reshape(shape)
        return arrays
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        process.kill()
        process.wait()
        raise InputError(f"'{path}' makes the reader crash, or takes it too long: save it anew or remove it") from None
    finally:
        alarm.cancel()


def read_exactly(process: subprocess.Popen, dtype: str, shape: list[int]) -> bytearray:
    """Reads the bytes of an array; ValueError where they end early."""
    data = bytearray(math.prod(shape) * np.dtype(dtype).itemsize)
    if process.stdout.readinto(data) != len(data):
        raise ValueError("the process ended")
    return data


def running_decoder() -> subprocess.Popen:
    """The process of `array_decoder`, started anew if it has ended."""
    if _start_decoder.cache_info().currsize and _start_decoder().poll() is not None:
        _start_decoder.cache_clear()
    return _start_decoder()


@functools.cache
def _start_decoder() -> subprocess.Popen:
    """`-P`: modules in the current folder are not imported. A session of its own: Ctrl-C is not for it."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("array_decoder.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # each thread would claim memory
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    atexit.register(close_decoder, process)
    return process


def close_decoder(process: subprocess.Popen) -> None:
    process.kill()
    with process:
        pass

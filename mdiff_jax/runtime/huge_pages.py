"""Memory in pages of 2 MiB in place of 4 KiB, which the C library is asked for before a process begins."""

import contextlib
import os
import sys

VARIABLE, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"


def ask() -> None:
    """Begins this process anew, with the same arguments, where its C library can be asked for huge pages and was not.

    Compiled programs take their memory from the system at every call: 66,000 page faults in a training step of
    `configs/gait_cpu.py` on a CPU, a twentieth of the cores' work (`benchmarks/page_faults.py`). glibc from 2.35 on
    asks for huge pages where its tunable says so; nothing changes with older ones, where a value of the tunable is
    given, or where the process is another program's: a notebook's, which runs a script of ours.
    """
    given = os.environ.get(VARIABLE, "")
    of_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    of_this_program = sys.orig_argv[-len(sys.argv) :] == sys.argv
    if TUNABLE in given or not (of_glibc and of_this_program and sys.executable):
        return
    os.environ[VARIABLE] = ":".join(filter(None, [given, f"{TUNABLE}=1"]))
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

"""Programs that work once for each line they are given: in turn, other load on the machine affects all alike."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[str], **options: Any) -> subprocess.Popen:
    """Starts a program that works at each line of standard input and prints a line of JSON; `options` as for Popen."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def work(process: subprocess.Popen) -> Any:
    """Has a program work once, and returns what it prints."""
    process.stdin.write("go\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())

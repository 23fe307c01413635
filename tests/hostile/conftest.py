"""The fork server, shared by all hostile cases of a worker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest


@pytest.fixture(scope="session")
def runner() -> Iterator[harness.Runner]:
    runner = harness.Runner()
    yield runner
    runner.close()


@pytest.fixture
def judge(runner: harness.Runner, tmp_path: Path) -> Callable[[harness.Case], harness.Outcome]:
    return lambda case: harness.judge(runner, case, tmp_path)

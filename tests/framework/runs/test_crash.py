"""Faults at drawn instants: a table a level, by the benchmark that prints it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sleepgym.runs.isolation.sandbox import strictest_isolation

REPOSITORY = Path(__file__).parents[3]


def strike(level, instants):
    words = [sys.executable, "benchmarks/crash.py", "--levels", level, "--instants", str(instants)]
    places = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        words,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_struck_run_ends_as_if_nothing_had_happened():
    result = strike("in-process", 2)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()[1:]] == ["ok"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("level", ["in-process", "process", "sandbox"])
def test_twenty_instants(level):
    if level == "sandbox" and strictest_isolation() != "sandbox":
        pytest.skip("no bubblewrap here")
    result = strike(level, 20)
    assert result.returncode == 0, result.stdout + result.stderr

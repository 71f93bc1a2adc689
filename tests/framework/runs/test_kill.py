"""SIGKILL, which no process can catch, at random instants of a real command line."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from checkout import SUPPORT
from sleepgym.runs.records import TIMES, read_run


def start(out):
    command = ["run", "--env", "toy:Toy", "--env-set", "days=24", "--agent", "toy:Slow"]
    return subprocess.Popen(
        [sys.executable, "-m", "sleepgym", *command, "--seed", "5", "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def phases(out):
    """How many phases are committed."""
    file = out / "phases.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_leave_the_same_record(tmp_path, kills):
    reference, out = tmp_path / "reference", tmp_path / "killed"
    whole = start(reference)
    rng, killed, progress = random.Random(20), 0, set()
    while killed < kills:
        lived = phases(out)
        process = start(out)
        wanted = lived + rng.randint(1, 12)  # a kill goes by progress, not by the clock
        while phases(out) < wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
        progress.add(len(read_run(out).phases))
        if read_run(out).finished:  # faster than the kills: begin again elsewhere
            out = tmp_path / f"killed{killed}"
    last = start(out)
    assert last.wait() == 0
    assert whole.wait() == 0
    assert len(progress) > min(kills // 2, 3)  # the kills fell at different phases
    assert (out / "answers.jsonl").read_bytes() == (reference / "answers.jsonl").read_bytes()
    for name in ("nights", "phases"):
        killed_rows, rows = (getattr(read_run(path), name) for path in (out, reference))
        assert [{**row, **dict.fromkeys(TIMES)} for row in killed_rows] == [
            {**row, **dict.fromkeys(TIMES)} for row in rows
        ]

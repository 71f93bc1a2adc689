import os
import signal
import subprocess
import sys

import pytest

from checkout import SUPPORT


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_suite_that_started_them(tmp_path, how):
    suite, out = tmp_path / "slow.toml", tmp_path / "out"
    suite.write_text(
        'summary = "slow"\nseeds = "1-2"\n[[envs]]\nid = "toy:Toy"\nlabel = "toy"\n'
        'settings = {days = 200}\n[[agents]]\nid = "toy:Slow"\nlabel = "slow"\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "sleepgym", "suite", suite, "--out", out, "--workers", "2"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,  # open until the last process that inherited it has ended
        stderr=subprocess.STDOUT,
    )
    runs = [out / "toy" / "slow" / f"seed-{seed}" / "phases.jsonl" for seed in (1, 2)]
    while not all(run.exists() for run in runs) and process.poll() is None:
        pass
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == -how

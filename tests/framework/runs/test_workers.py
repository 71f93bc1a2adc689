import os
import signal
import subprocess
import sys
import time

import pytest

from checkout import SUPPORT


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("agent", ["Slow", "Stuck"])
def test_workers_end_with_the_suite_that_started_them(tmp_path, how, agent):
    if agent == "Stuck" and sys.platform != "linux":
        pytest.skip("no thread of a worker runs while a library holds the interpreter")
    suite, out = tmp_path / "slow.toml", tmp_path / "out"
    suite.write_text(
        'summary = "slow"\nseeds = "1-2"\n[[envs]]\nid = "toy:Toy"\nlabel = "toy"\n'
        f'settings = {{days = 200}}\n[[agents]]\nid = "toy:{agent}"\nlabel = "slow"\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "sleepgym", "suite", suite, "--out", out, "--workers", "2"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdout=subprocess.PIPE,  # open until the last process that inherited it has ended
        stderr=subprocess.STDOUT,
    )
    runs = [out / "toy" / "slow" / f"seed-{seed}" / "phases.jsonl" for seed in (1, 2)]
    while not all(run.exists() and run.read_text().count("evening") for run in runs):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == -how

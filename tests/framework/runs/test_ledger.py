"""What a night cost, what it was allowed, and clocks that no agent can set."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from sleepgym.runs.costs import clocks
from sleepgym.runs.costs.ledger import unpaid_nights
from sleepgym.runs.isolation.process_tree import descendants, ticks_below
from sleepgym.runs.isolation.process_tree import seconds as seconds_of
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import float_parameters, numbers_digest
from sleepgym.scoring.scores import score_run
from toy import Notes


@pytest.mark.parametrize("isolation", ["in-process", "process"])
@pytest.mark.parametrize(("limit", "trained"), [(30, 20), (25, 20), (24, 0)])
def test_a_budget_covers_what_was_trained_while_the_day_was_told(
    tmp_path, isolation, limit, trained
):
    settings = {"days": 1, "night_train_tokens": limit}
    spec = RunSpec("toy:Toy", "strangers:Trainee", settings, isolation=isolation)
    (night,) = run(spec, tmp_path / "run").nights
    assert (night["setup_train_tokens"], night["train_tokens"]) == (5, trained)
    assert night["exceeded"] == []  # it asked, and was told what was left


def test_who_trains_while_awake_breaks_the_budget_of_the_night(tmp_path, monkeypatch):
    def study(self, documents):
        self.meter.train_tokens += 100

    monkeypatch.setattr(Notes, "study", study)
    spec = RunSpec("toy:Toy", "toy:Notes", {"days": 1, "night_train_tokens": 50})
    (night,) = run(spec, tmp_path / "run").nights
    assert night["exceeded"] == ["night_train_tokens"]


def test_what_is_measured_is_reported(tmp_path):
    scores = score_run(run(RunSpec("toy:Toy", "toy:Slow", {"days": 1}), tmp_path / "run"))
    for name in ("night_processor_seconds", "awake_processor_seconds", "awake_setup_seconds"):
        assert scores[name] >= 0
    assert scores["night_seconds"] >= 0.02
    assert ("night_gpu_seconds" in scores) == (clocks.gpu_s() is not None)


def test_floats_are_counted_wherever_they_are_in_safetensors(tmp_path):
    (tmp_path / "deeper").mkdir()
    half = np.ones((3, 5), dtype=np.float16)
    save_file({"w": half, "ids": np.arange(9)}, tmp_path / "deeper" / "w.safetensors")
    save_file({"k": np.ones(7)}, tmp_path / "keys.safetensors")
    (tmp_path / "w.npy").write_bytes(b"\0" * 400)  # no safetensors: text, by its bytes
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 400)
    assert float_parameters(tmp_path) == 15 + 7
    before = numbers_digest(tmp_path)
    save_file({"w": half, "ids": np.arange(9) + 1}, tmp_path / "deeper" / "w.safetensors")
    assert numbers_digest(tmp_path) == before
    save_file({"w": half * 2, "ids": np.arange(9)}, tmp_path / "deeper" / "w.safetensors")
    assert numbers_digest(tmp_path) != before


def test_nights_that_were_not_paid_are_found_in_a_record():
    def night(number, digest, tokens=0, weights=8):
        counts = {"read_tokens": 0, "generated_tokens": 0, "train_tokens": tokens, "flops": 0.0}
        sizes = {"state_weights_bytes": weights, "state_keys_bytes": 0}
        return {"night": number, "state_digest": digest, **counts, **sizes}

    def study(day, tokens):
        counts = {"read_tokens": tokens, "generated_tokens": 0, "train_tokens": 0, "flops": 0.0}
        return {"phase": "study", "day": day, **counts}

    phases = [study(1, 0), study(2, 3), study(3, 0), study(4, 0), study(5, 0)]
    nights = [night(1, "a"), night(2, "b"), night(3, "b"), night(4, "c", 1), night(5, "d", 0, 0)]
    assert [text[:8] for text in unpaid_nights(phases, nights)] == ["night 1:"]
    assert [text[:8] for text in unpaid_nights(phases[2:], nights[2:])] == ["night 3:"]


def test_the_gpu_clock_adds_up_what_the_driver_says(monkeypatch):
    class Lost(Exception):
        """What NVML raises."""

    shares = iter([50, 50, 100])

    def rates(handle):
        share = next(shares, None)
        if share is None:
            raise Lost
        return SimpleNamespace(gpu=share)

    monkeypatch.setattr(clocks, "EVERY_S", 0.02)
    started_s = time.perf_counter()
    nvml = SimpleNamespace(nvmlDeviceGetUtilizationRates=rates, NVMLError=Lost)
    clock = clocks.GpuClock(nvml, ["one"])
    clock.thread.join(30)  # it ends where the driver is lost
    assert 0.02 * 2 <= clock.busy_s <= time.perf_counter() - started_s


def test_visible_gpus_are_those_of_this_process(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert clocks._visible(3) == [0, 1, 2]
    for named, found in (("2,0", [2, 0]), ("", []), ("7", []), ("GPU-1a", [0, 1, 2])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert clocks._visible(3) == found


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc here")
def test_time_of_children_that_ended_counts():
    # more than is asked for: the system counts whole ticks of 10 ms, rounded down
    burn = "import time; u = time.process_time() + .25\nwhile time.process_time() < u: pass"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    code = f"{inner}; print('done', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"done\n"
        assert process.pid in descendants(os.getpid())
        assert seconds_of(ticks_below(process.pid)) >= 0.2
    assert ticks_below(process.pid) is None

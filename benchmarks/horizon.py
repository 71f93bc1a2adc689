"""Long horizons: what a start, an exam, a crash and a sample of the last exam cost.

On ``sleepgym/Lifelong-v0``: ``nearest``, which needs no model, for the sample; for the crash an
agent that does next to nothing, so that the framework is measured. Takes some minutes. Processor
time is what a busy machine does not change.
"""

import argparse
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import sleepgym
from sleepgym import Agent, NoSettings, RunSpec
from sleepgym.core.schedule import schedule
from sleepgym.runs.isolation.process_tree import seconds, ticks_with
from sleepgym.runs.records import read_lines, read_run

ENV = "sleepgym/Lifelong-v0"
LONG = {"preset": "thousand"}
AGENT = {"store_bytes": "50000"}
KILL_ON_DAY = 700
START_LIMIT_S, RESUME_LIMIT_S, MEMORY_LIMIT_MB = 1.0, 5.0, 500
_START = f"""
import resource, time, sleepgym
began, worked = time.perf_counter(), time.process_time()
env = sleepgym.make_env({ENV!r}, **{LONG!r})
env.reset(seed=0)
held_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.process_time() - worked, time.perf_counter() - began, held_mb)
"""


class Diary(Agent):
    """Remembers the titles of its last days and answers with the newest."""

    Config = NoSettings

    def __init__(self, config=None, *, seed=0, model="embedded"):
        super().__init__(config, seed=seed, model=model)
        self.titles = []

    def study(self, documents):
        """Note the titles."""
        self.titles = [*self.titles, *(document.title for document in documents)][-100:]

    def answer(self, questions):
        """The newest title."""
        return [self.titles[-1] if self.titles else ""] * len(questions)

    def save(self, path):
        """Write the titles."""
        (path / "titles.txt").write_text("\n".join(self.titles))

    def load(self, path):
        """Read them."""
        self.titles = (path / "titles.txt").read_text().split("\n")


def main() -> None:
    """Print every table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    starting()
    exams()
    with tempfile.TemporaryDirectory() as folder:
        sampling(Path(folder))
        crash(Path(folder) / "thousand")


def starting() -> None:
    """Seconds from ``make_env`` to the first observation of a thousand days, and the memory."""
    runs = [
        subprocess.run([sys.executable, "-c", _START], check=True, capture_output=True, text=True)
        for _ in range(3)
    ]
    worked_s, wall_s, held_mb = min(tuple(map(float, run.stdout.split())) for run in runs)
    print(
        f"start of 1,000 days: {wall_s:.2f} s, {worked_s:.2f} s of processor time (limit"
        f" {START_LIMIT_S:g}), {held_mb:.0f} MB"
    )


def exams() -> None:
    """Questions of all mornings, by length of the stream and kind of exam."""
    print("\n| days | full | spaced | spaced / T log2 T | sampled | sampled / T log2 T |")
    print("|---|---|---|---|---|---|")
    for days in (16, 64, 256):
        stream = sleepgym.make_env(ENV, days=days).family.stream(0)
        full, spaced, sampled = (
            sum(len(step.items) for step in schedule(stream, exams) if step.closed_book)
            for exams in ("full", "spaced", "sampled")
        )
        growth = days * math.log2(days)
        print(
            f"| {days} | {full:,} | {spaced:,} | {spaced / growth:.1f} |"
            f" {sampled:,} | {sampled / growth:.1f} |"
        )


def sampling(folder: Path) -> None:
    """The final average of sampled exams beside that of all days, for one agent."""
    from sleepgym.scoring.scores import score_run  # not where the agent alone is imported

    print("\n| seed | all days | sample | interval | covered |")
    print("|---|---|---|---|---|")
    for seed in range(3):
        whole, part = (
            score_run(
                sleepgym.run(
                    RunSpec(
                        env=ENV,
                        agent="nearest",
                        env_settings={"days": 160, "exams": exams},
                        agent_settings=AGENT,
                        seed=seed,
                    ),
                    folder / f"{exams}-{seed}",
                )
            )
            for exams in ("spaced", "sampled")
        )
        truth, mean = whole["average_accuracy"] or 0.0, part["average_accuracy"] or 0.0
        margin = part["average_accuracy_margin"] or 0.0
        low, high = mean - margin, mean + margin
        covered = "yes" if low <= truth <= high else "no"
        print(f"| {seed} | {truth:.3f} | {mean:.3f} | {low:.3f} to {high:.3f} | {covered} |")


def crash(out: Path) -> None:
    """SIGKILL on day 700 of 1,000, then ``resume``: seconds to the next phase, and memory."""
    command = [sys.executable, "-m", "sleepgym"]
    settings = [f"--env-set={name}={value}" for name, value in LONG.items()]
    first = ["run", "--env", ENV, "--agent", "horizon:Diary", *settings, "--out", str(out)]
    process = _start([*command, *first])
    while _day(out) < KILL_ON_DAY:
        if process.poll() is not None:
            raise SystemExit(f"the run ended with exit code {process.returncode}")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    held_mb = _wait(process)
    done = len(read_lines(out / "phases.jsonl"))
    began = time.perf_counter()
    process = _start([*command, "resume", str(out)])
    while len(read_lines(out / "phases.jsonl")) == done and process.poll() is None:
        time.sleep(0.05)
    resumed_s, worked_s = time.perf_counter() - began, seconds(ticks_with(process.pid))
    resumed_mb = _wait(process)
    record = read_run(out)
    print(
        f"\nkilled on day {KILL_ON_DAY} after {done:,} phases, {held_mb:.0f} MB held; the next"
        f" phase is done {resumed_s:.1f} s after `resume` begins, {worked_s:.1f} s of processor"
        f" time (limit {RESUME_LIMIT_S:g});"
        f" finished: {record.finished}, {resumed_mb:.0f} MB at most (limit {MEMORY_LIMIT_MB})"
    )


def _start(command: list[str]) -> subprocess.Popen:
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def _wait(process: subprocess.Popen) -> float:
    """Wait for a process; the most memory that it held, in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def _day(out: Path) -> int:
    phases = read_lines(out / "phases.jsonl")
    return phases[-1]["day"] if phases else 0


if __name__ == "__main__":
    main()

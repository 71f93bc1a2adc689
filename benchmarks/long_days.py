"""Days of a million and of ten million tokens: seconds and memory of a run, beside a short day.

    python benchmarks/long_days.py [--agents frozen,retrieval] [--data DIR]

A run of one day each, in a process of its own: a stream that were held would show as 4 MB and 40 MB
of text, and as several times as much of what is made of it. Without ``--data`` background and
stories are invented; with it the presets run as published (bAbI among a book that is gone through
again). ``retrieval`` keeps the last megabyte of text, its default. Takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HAYSTACK, STORIES = "sleepgym/Haystack-v0", "sleepgym/BABILong-v0"
ONE_STORY = {"days": 1, "stories_per_day": 1, "chunk_tokens": 1000}


def main() -> None:
    """Print a row for each day and agent."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", default="frozen,retrieval", help="with a comma between two")
    parser.add_argument("--isolation", default="in-process", help="in-process, process or sandbox")
    parser.add_argument("--data", type=Path, help="folder with bAbI and a book")
    given = parser.parse_args()
    ten = {"preset": "10M", "repeat_text": "true"}
    days = [
        (HAYSTACK, "1,000", {"days": 1, "needles": 4}),
        (HAYSTACK, "1,000,000", {"preset": "million", "needles": 4}),
        (STORIES, "1,000", {**ONE_STORY, "tokens": 1000}),
        (STORIES, "10,000,000", ten if given.data else {**ONE_STORY, "tokens": 10_000_000}),
    ]
    print("| environment | tokens in the day | agent | seconds | of processor time | peak MB |")
    print("|---|---|---|---|---|---|")
    for env, tokens, settings in days:
        for agent in given.agents.split(","):
            extra = ["--isolation", given.isolation]
            if given.data and settings is ten:
                extra += ["--data", str(given.data)]
            measured = " | ".join(f"{x:.0f}" for x in measure(env, agent, settings, extra))
            print(f"| `{env}` | {tokens} | `{agent}` | {measured} |", flush=True)


def measure(
    env: str, agent: str, settings: dict[str, object], extra: list[str]
) -> tuple[float, float, float]:
    """Seconds, processor seconds and the most memory, in MB, of a run of seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sleepgym", "run", "--env", env, "--agent", agent, *extra]
        command += [f"--env-set={name}={value}" for name, value in settings.items()]
        begun = time.perf_counter()
        process = subprocess.Popen([*command, "--out", f"{folder}/run"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    worked_s = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - begun, worked_s, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""Agents in processes and sandboxes of their own: the same answers, and what that costs.

    python benchmarks/isolation.py            # every registered agent, a tiny stream, three levels
    python benchmarks/isolation.py --days 1 --together      # the same in a third of the time
    python benchmarks/isolation.py --demo     # the agents of `make demo`, one seed: the overhead

Nights are shortened by the settings below, as far as an agent has them, since what is compared is
the way of an answer and not its worth. Every level of an agent's runs is a process of its own, so
that its processor time (with that of everything it started) is what the system says at its end; of
a sandbox, what its records say, which leaves its start out. Wall-clock seconds are printed beside
it and mean something on an idle machine only. Exits with 1 where answers differ, or with --demo
where `process` takes more than 1.1 times the processor time of `in-process`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

from sleepgym.core import registry
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.suite import load_suite

SALT = "0123456789abcdef" * 2
TINY = {"days": 2, "passages": 2, "questions": 6, "base_questions": 8}
SHORT = {"epochs": 1, "samples": 4, "dreams": 4, "rehearsals": 4, "groups": 2, "group_size": 2}
SHORT |= {"recollections": 2, "quiz_items": 4, "rehearsed": 8, "edits": 2, "dream_epochs": 1}
# For agents that need practice, or choices too
RULES = {"days": 2, "rules": 2, "demonstrations": 3, "tests": 2}
CLASSES = {"dataset": "invented", "days": 2, "classes_per_day": 2, "train_per_class": 3}
ELSEWHERE = {"practice": ("sleepgym/Codebook-v0", RULES)}
ELSEWHERE["choices"] = ("sleepgym/ClassIncremental-v1", CLASSES)
ALLOWED = 1.1


@dataclass(frozen=True)
class Measured:
    """Runs of some agents at one level: seconds, and the answers of each."""

    wall_s: float
    processor_s: float
    answers: dict[str, bytes]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", action="store_true", help="the demo's agents and settings")
    parser.add_argument("--agents", default="", help="only these, comma-separated")
    parser.add_argument("--levels", default="", help="only these, comma-separated")
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--together", action="store_true", help="all agents in one process a level")
    parser.add_argument("--at-once", action="store_true", help="levels side by side, a core each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", help=argparse.SUPPRESS)  # run them at this level, in OUT
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.level:
        for spec in specs(options):
            run(spec, options.out / spec.agent)
        return 0
    levels = options.levels.split(",") if options.levels else ["in-process", "process"]
    if not options.levels and not options.demo and strictest_isolation() == "sandbox":
        levels.append("sandbox")
    groups = [[spec.agent for spec in specs(options)]]
    if (
        not options.demo and not options.together
    ):  # one by one: a difference is told apart, and so is its cost
        groups = [[agent] for agent in groups[0]]
    print(
        f"{'agents':<22}{'answers':<9}" + "".join(f"{level + ' s (cpu)':>24}" for level in levels)
    )
    ratios, differ = [], 0
    for agents in groups:
        with ThreadPoolExecutor(len(levels) if options.at_once else 1) as pool:
            measured = pool.map(lambda level, of=agents: measure(of, level, options), levels)
            found = dict(zip(levels, measured, strict=True))
        base, *others = found.values()
        apart = [a for a in agents if any(m.answers[a] != base.answers[a] for m in others)]
        differ += len(apart)
        cells = "".join(f"{m.wall_s:>14.1f} ({m.processor_s:>6.1f})" for m in found.values())
        name = agents[0] if len(agents) == 1 else f"{len(agents)} agents"
        ratio = found[levels[1]].processor_s / base.processor_s if len(levels) > 1 else 1.0
        ratios.append(ratio)
        print(f"{name:<22}{'DIFFER' if apart else 'same':<9}{cells}   x{ratio:.3f}", flush=True)
        if apart and len(agents) > 1:
            print(f"  other answers: {', '.join(apart)}")
    slow = options.demo and ratios[0] > ALLOWED
    return int(bool(differ or slow))


def specs(options: argparse.Namespace) -> list[RunSpec]:
    """What is run, at the level that the options name."""
    level = options.level or "in-process"
    if options.demo:
        suite = load_suite("demo")
        env = suite.envs[0]
        found = [(agent.id, dict(agent.settings)) for agent in suite.agents]
        env_id, settings = env.id, dict(env.settings)
    else:
        found = [(name, shortened(name)) for name in sorted(registry.agents)]
        env_id, settings = "sleepgym/Almanac-v1", TINY
    wanted = options.agents.split(",") if options.agents else [name for name, _ in found]
    made = []
    for name, own in found:
        if name in wanted:
            env, chosen = env_id, settings
            for need in ("practice", "choices") if not options.demo else ():
                if need in registry.agents[name].needs:
                    env, chosen = ELSEWHERE[need]
            chosen = chosen if options.demo else {**chosen, "days": options.days}
            made.append(RunSpec(env, name, chosen, own, options.seed, isolation=level, salt=SALT))
    return made


def shortened(agent: str) -> dict[str, int]:
    """Those of :data:`SHORT` that an agent has."""
    names = {field.name for field in fields(registry.agent_class(agent).Config)}
    return {name: value for name, value in SHORT.items() if name in names}


def measure(agents: list[str], level: str, options: argparse.Namespace) -> Measured:
    """Run some agents at one level in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--level", level, "--out", folder]
        words += ["--agents", ",".join(agents), "--seed", str(options.seed)]
        words += ["--days", str(options.days), *(["--demo"] if options.demo else [])]
        started_s = time.perf_counter()
        process = subprocess.Popen(words)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(agents)} at level {level} ended with an error")
        wall_s = time.perf_counter() - started_s
        answers = {name: (Path(folder) / name / "answers.jsonl").read_bytes() for name in agents}
        processor_s = used.ru_utime + used.ru_stime
        if level == "sandbox":  # nobody waits for what a sandbox holds: its records know
            runs = [read_run(Path(folder) / name) for name in agents]
            processor_s += sum(line["processor_seconds"] for r in runs for line in r.phases)
        return Measured(wall_s, processor_s, answers)


if __name__ == "__main__":
    sys.exit(main())

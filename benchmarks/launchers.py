"""Suites by launcher: speed at one and two workers, and what a launcher costs.

Two kinds of runs: some compute (an agent that trains the embedded model), some wait (as for a GPU
or an endpoint), so that the launcher is seen apart from the cores that it shares. ``start`` is the
time until the first run begins; the others are from there to the end of the last run, and so are
the ratios. A second worker's own start is in them, as it is in a suite.
`python benchmarks/launchers.py wait` measures one kind, `... wait ray` by one launcher.
"""

import argparse
import importlib.util
import os
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from sleepgym import Agent
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.launchers import LocalLauncher, run_suite

SEEDS = range(100, 104)
WAIT_S = 2.0
KINDS = {"compute": ("naive", 6), "wait": ("launchers:Waiting", 2)}


class Waiting(Agent):
    """Waits at every exam and every night."""

    def answer(self, questions):
        time.sleep(WAIT_S)
        return [""] * len(questions)

    def sleep(self, night):
        time.sleep(WAIT_S)
        return {}

    def save(self, path):
        (path / "nothing").touch()

    def load(self, path):
        pass


def launchers():
    """Name -> what makes a launcher of so many workers."""
    yield "local", LocalLauncher
    if importlib.util.find_spec("ray"):
        from sleepgym.suite.cluster import RayLauncher

        yield "ray", lambda workers: RayLauncher(cpus=workers)
    else:
        print("ray is not installed: pip install 'sleepgym[ray]'")


def runs(kind, out):
    agent, days = KINDS[kind]
    env = "sleepgym/Almanac-v1"
    specs = [RunSpec(env, agent, {"days": days}, seed=seed) for seed in SEEDS]
    return [(spec, out / kind / f"seed-{spec.seed}") for spec in specs]


def seconds(work, launcher):
    """Seconds until the first run begins, and from there to the end of the last."""
    called = time.time()
    run_suite(work, launcher)
    began = min((out / ".lock").stat().st_mtime for _, out in work)
    ended = max((out / "phases.jsonl").stat().st_mtime for _, out in work)
    return began - called, ended - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(KINDS)}; and launchers by name")
    words = parser.parse_args().only
    kinds = [word for word in words if word in KINDS] or list(KINDS)
    chosen = [word for word in words if word not in KINDS]
    print(f"{'':8} {'start':>7}" + "".join(f"{f'{k}, {n}':>12}" for k in kinds for n in (1, 2)))
    for name, make in launchers():
        if chosen and name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            starts, row, ratios = [], [], []
            for kind in kinds:
                (first, alone), (second, both) = (
                    seconds(runs(kind, out / str(n)), make(n)) for n in (1, 2)
                )
                starts += [first, second]
                row += [alone, both]
                ratios.append(f"{kind} x{alone / both:.2f}")
        cells = "".join(f"{value:10.1f} s" for value in row)
        print(f"{name:8} {min(starts):5.1f} s{cells}   {', '.join(ratios)}", flush=True)


if __name__ == "__main__":
    main()

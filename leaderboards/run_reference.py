"""Run the reference agents of a suite on many cores within a time limit, and collect the records.

    python leaderboards/run_reference.py baselines --envs almanac --first sleep,seeding,dreaming \\
        --isolation process --workers 16 --limit-s 500 --out runs/ref --records ref.tar.gz

`sleepgym suite` runs a stream at a time, so that what is there can be compared at any moment. Here
agents named by --first begin, with all their streams, so that the long ones end together with the
short ones. After --limit-s, counted from the start of the command, the archive is written: --pack-s
before that everything is stopped. The same command goes on with the last finished phases. The
archive holds the records, and of runs that are not finished their states too, the smallest first:
unpacked elsewhere, they can go on there. Then `submit_reference.py` packs them. Exit code 1 if a
run is not finished.
"""

from __future__ import annotations

import time

STARTED_S = time.monotonic()  # before the imports below, which take seconds

# ruff: noqa: E402
import argparse
import os
import sys
import tarfile
import threading
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from sleepgym.core.errors import SleepGymError, unknown_name
from sleepgym.runs.records import FILES, read_run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.launchers import LocalLauncher, run_suite
from sleepgym.suite.suite import load_suite

Runs = Sequence[tuple[RunSpec, Path]]
RECORDS = ("run.json", *FILES)
_STOPPING_S = 2.0  # workers end by themselves when their parent does


def order(runs: Runs, first: Sequence[str]) -> Runs:
    """The runs of the agents that are named first, in that order, then the others as they stood.

    Raises:
        UnknownName: If a label is none of the runs'.
    """
    labels = {spec.label for spec, _ in runs}
    for name in first:
        if name not in labels:
            raise unknown_name("agent", name, labels)
    places = {label: place for place, label in enumerate(first)}
    return sorted(runs, key=lambda run: places.get(run[0].label, len(places)))


def run_until(runs: Runs, workers: int, until_s: float | None) -> None:
    """Run what is not finished; stop at an instant of the monotonic clock."""
    started = get_context("spawn").Process(target=_run, args=(runs, workers))
    started.start()
    started.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
    if started.is_alive():
        started.kill()
        started.join()
        time.sleep(_STOPPING_S)


def _run(runs: Runs, workers: int) -> None:
    run_suite(runs, LocalLauncher(workers), _show)
    for thread in threading.enumerate():  # that of the pool tells its workers to end: the end of
        if thread is not threading.main_thread() and not thread.daemon:  # this process must wait
            thread.join()


def _show(done: int, total: int, last: str) -> None:
    print(f"{done}/{total} {last}", flush=True)


def collect(out: Path, file: Path) -> None:
    """Write the records under a folder into one archive; finished runs without their states."""
    folders = [meta.parent for meta in sorted(out.rglob("seed-*/run.json"))]
    states = [folder / "state" for folder in folders if not is_finished(folder)]
    states = sorted((state for state in states if state.exists()), key=_size_bytes)
    part = file.with_name(file.name + ".part")
    with tarfile.open(part, "w:gz", compresslevel=1) as archive:
        for path in [*(folder / name for folder in folders for name in RECORDS), *states]:
            if path.exists():
                archive.add(path, path.relative_to(out))
    part.replace(file)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def is_finished(folder: Path) -> bool:
    """Whether a run directory holds a finished run."""
    try:
        return read_run(folder).finished
    except SleepGymError:
        return False


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite", help="sleepgym list suites, or a TOML file")
    parser.add_argument("--envs", help="labels of its environments, comma-separated; else all")
    parser.add_argument("--agents", help="labels of its agents, comma-separated; else all")
    parser.add_argument("--first", default="", help="labels of agents to begin with")
    parser.add_argument("--isolation", default="process", help="in-process, process or sandbox")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side")
    parser.add_argument("--limit-s", type=float, help="seconds of the whole command")
    parser.add_argument(
        "--pack-s", type=float, default=10.0, help="seconds of these that the archive may take"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; resumable")
    parser.add_argument("--records", type=Path, help="archive to write: NAME.tar.gz")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SLEEPGYM_DATA"), help="original data files"
    )
    given = parser.parse_args(words)
    try:
        suite = load_suite(given.suite)
        suite = suite.only(given.agents.split(",")) if given.agents else suite
        labels = given.envs.split(",") if given.envs else [env.label for env in suite.envs]
        for label in labels:
            if label not in [env.label for env in suite.envs]:
                names = [env.label for env in suite.envs]
                raise unknown_name(f"environment of suite {suite.name}", label, names)
        kept = {given.out / label for label in labels}
        runs = suite.runs(given.out, given.data, given.isolation)
        runs = [(spec, path) for spec, path in runs if path.parents[1] in kept]
        runs = order(runs, given.first.split(",") if given.first else [])
    except SleepGymError as error:
        print(f"run_reference: {error}", file=sys.stderr)
        return 2
    until_s = None
    if given.limit_s is not None:
        until_s = STARTED_S + given.limit_s - _STOPPING_S - (given.pack_s if given.records else 0)
    run_until(runs, given.workers, until_s)
    finished = sum(is_finished(path) for _, path in runs)
    print(f"{finished} of {len(runs)} runs are finished")
    if given.records:
        collect(given.out, given.records)
    return 0 if finished == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())

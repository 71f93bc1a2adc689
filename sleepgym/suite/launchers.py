"""Where the runs of a suite are executed: on this machine, or on a cluster.

A launcher only executes; order, progress and errors are the same for all. Results do not depend
on it, and every run is resumable: the same command goes on with what is missing.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.core.errors import (
    AgentError,
    BadRun,
    SleepGymError,
)
from sleepgym.runs.records import read_lines, read_meta
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.workers import make_pool

Follow = Callable[[Path], AbstractContextManager[Any]]
Progress = Callable[[int, int, str], None]
TICK_S = 1.0  # between two looks at what the runs under way have written


@dataclass(frozen=True)
class Job:
    """One run of a suite.

    Attributes:
        spec: What to run.
        out: Its directory.
        follow: Called with ``out`` where it is executed: a context whose value is told of progress
            (:func:`sleepgym.trackers.following.followed`); picklable.
        env: Label of its environment, where a suite has several; else empty.
    """

    spec: RunSpec
    out: Path
    follow: Follow | None = None
    env: str = ""

    @property
    def name(self) -> str:
        """Environment, label and seed."""
        where = f"{self.env}, " if self.env else ""
        return f"{where}{self.spec.label or self.spec.agent}, seed {self.spec.seed}"

    def execute(self) -> None:
        """Run, or go on."""
        from sleepgym.runs.runner import run

        with self.follow(self.out) if self.follow else nullcontext() as progress:
            run(self.spec, self.out, progress=progress)


@dataclass(frozen=True)
class Ended:
    """A job that ended.

    Attributes:
        job: Which.
        error: What it ended with; None where the run has finished.
    """

    job: Job
    error: Exception | None = None


class Launcher(ABC):
    """Executes jobs."""

    @abstractmethod
    def launch(self, jobs: Sequence[Job]) -> Iterator[Ended | str | None]:
        """Execute all jobs; closing the iterator gives up what has not ended.

        Yields:
            :class:`Ended` once a job, a line to show where something is worth a word, and None at
            least every ``TICK_S``.
        """


class LocalLauncher(Launcher):
    """Processes of this machine, with equal shares of the cores."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def launch(self, jobs: Sequence[Job]) -> Iterator[Ended | str | None]:
        """See :meth:`Launcher.launch`; jobs under way are waited for where it is closed."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        with make_pool(self.workers) as pool:
            futures = {pool.submit(job.execute): job for job in jobs}
            waiting = set(futures)
            try:
                while waiting:
                    done, waiting = wait(waiting, TICK_S, FIRST_COMPLETED)
                    for future in done:
                        error = future.exception()
                        if isinstance(error, BrokenExecutor):
                            error = SleepGymError(
                                "a worker process died (killed, or out of memory): the same "
                                "command goes on from there"
                            )
                        assert error is None or isinstance(error, Exception)
                        yield Ended(futures[future], error)
                    yield None
            finally:  # to wait later, at the end of the interpreter, is a race for its pipes
                pool.shutdown(wait=True, cancel_futures=True)


def run_suite(
    runs: Sequence[tuple[RunSpec, Path]],
    launcher: Launcher | None = None,
    progress: Progress | None = None,
    follow: Follow | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Run what is not finished.

    An agent that fails in the midst of its stream, or a worker that dies, does not keep the other
    runs from finishing; bad input, which would fail again, ends the suite at once.

    Args:
        runs: What :meth:`sleepgym.suite.suite.Suite.runs` returned.
        launcher: Where; one process of this machine by default.
        progress: Called with (runs done, runs in all, what happened last), at least once a run.
        follow: See :class:`Job`.
        say: Called with a line about a worker that died and is replaced.

    Raises:
        SleepGymError: What a run ended with, or one that names all that failed.
    """
    several = len({out.parent.parent for _, out in runs}) > 1
    labels = [out.parent.parent.name if several else "" for _, out in runs]
    jobs = [Job(spec, out, follow, env) for (spec, out), env in zip(runs, labels, strict=True)]
    watch = _Watch(jobs)
    done, failed = 0, []
    launched = (launcher or LocalLauncher()).launch(jobs)
    try:
        for event in launched:
            if isinstance(event, Ended):
                done += 1
                watch.leave(event.job)
                if event.error is not None:
                    if not isinstance(event.error, (AgentError, LostWorker)):
                        raise event.error
                    failed.append(event)
                if progress:
                    progress(done, len(jobs), event.job.name)
            elif isinstance(event, str):
                if say:
                    say(event)
            elif progress and (news := watch.news()):
                progress(done, len(jobs), news)
    finally:
        launched.close()  # pyright: ignore[reportAttributeAccessIssue]
    if len(failed) == 1 and failed[0].error is not None:
        raise failed[0].error
    if failed:
        each = "; ".join(f"{event.job.name}: {event.error}" for event in failed)
        raise AgentError(f"{len(failed)} of {len(jobs)} runs failed: {each}")


class LostWorker(SleepGymError):
    """A worker that died on one run as often as it was replaced."""


class _Watch:
    """How far the runs under way have come, by the journals that they write."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._sizes = {job.out: (job, _size(job.out)) for job in jobs}

    def leave(self, job: Job) -> None:
        """It has ended."""
        self._sizes.pop(job.out, None)

    def news(self) -> str:
        """The last phase of a run that has moved since it was looked at; empty: none has."""
        last = ""
        for out, (job, before) in list(self._sizes.items()):
            size = _size(out)
            if size == before:
                continue
            self._sizes[out] = (job, size)
            try:
                phases, steps = read_lines(out / "phases.jsonl"), read_meta(out)["steps"]
            except (BadRun, OSError, KeyError):  # half-copied: the next look will do
                continue
            if phases:
                at = f"{phases[-1]['phase']} of day {phases[-1]['day']}"
                last = f"{job.name}: {at} ({len(phases)}/{steps})"
        return last


def _size(out: Path) -> int:
    try:
        return (out / "phases.jsonl").stat().st_size
    except OSError:
        return 0

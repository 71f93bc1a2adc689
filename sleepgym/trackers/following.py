"""Telling a tracker of a run while it runs, by reading what the run commits.

The run knows nothing of it: a tracker sees what stands in the run's files, after every phase, and
whatever it raises is a warning; the run goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sleepgym.runs.records import read_meta, read_run
from sleepgym.runs.runner import Progress
from sleepgym.scoring.scores import score_run
from sleepgym.trackers.backends import TRACKERS, Described, Tracker, one_line

_COSTS = ("seconds", "read_tokens", "generated_tokens", "train_tokens", "flops")
_KEPT = ("added_parameters", "state_bytes")


@contextmanager
def followed(name: str, out: Path) -> Iterator[Progress]:
    """Tell a tracker of the run in ``out`` while the block runs.

    Args:
        name: One of :data:`sleepgym.trackers.backends.TRACKERS`; checked by the caller.
        out: The run directory.

    Yields:
        What :func:`sleepgym.run` is given as ``progress``.
    """
    follower = _Follower(name, out)
    try:
        yield follower
    finally:
        follower.finish()


def numbers_of_night(
    night: int, answers: list[dict[str, Any]], costs: Mapping[str, Any] | None
) -> dict[str, float]:
    """What a tracker shows of a night.

    Args:
        night: Its number; 0 for the exam at birth.
        answers: The lines of ``answers.jsonl`` between the last night and the morning after this.
        costs: Its line of ``nights.jsonl``; None at birth.

    Returns:
        ``score/`` evening, today, earlier, coming (days not taught yet), base; means of exams in
        [0, 1]. ``cost/`` seconds, tokens, operations of the night; ``kept/`` bytes and parameters;
        ``log/`` what the agent logged.
    """
    scores = defaultdict(list)
    for line in answers:
        if line["phase"] in ("evening", "practice"):
            scores[line["phase"]].append(line["score"])
        elif line["phase"] == "morning":
            day = line["item_day"]
            age = "base" if day == 0 else "today" if day == night else "earlier"
            scores["coming" if day > night else age].append(line["score"])
    shown = {f"score/{name}": float(np.mean(values)) for name, values in scores.items()}
    if costs is None:
        return shown
    shown |= {f"cost/{name}": float(costs[name]) for name in _COSTS}
    shown |= {f"kept/{name}": float(costs[name]) for name in _KEPT}
    logged = {name: value for name, value in costs["log"].items() if value is not None}
    return shown | {f"log/{name}": float(value) for name, value in logged.items()}


class _Follower:
    """Reads the run's files as they grow; a tracker that raises is dropped with a warning."""

    def __init__(self, name: str, out: Path) -> None:
        self._name, self._out = name, out
        self._answers, self._nights, self._phases = (
            _Tail(out / f"{file}.jsonl") for file in ("answers", "nights", "phases")
        )
        self._tracker: Tracker | None = None
        self._broken = False
        self._old = 0 if TRACKERS[name].repeats else self._phases.count()
        self._seen = 0
        self._pending: list[dict[str, Any]] = []  # answers since the last night
        self._costs: dict[str, Any] | None = None  # of the last night

    def __call__(self, done: int, total: int, what: str, score: float | None) -> None:
        """After a phase: tell of the nights that are new."""
        self._try(self._tell)

    def finish(self) -> None:
        """At the end of the command: the metrics, where the stream has ended."""
        self._try(self._finish)

    def _try(self, act: Any) -> None:
        if self._broken:
            return
        try:
            act()
        except Exception as error:  # whatever a third party's tracker raises
            self._broken = True
            line = f"tracker {self._name} stopped, the run goes on: {one_line(error)}"
            print(f"sleepgym: {line}", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        if self._tracker is None:
            self._tracker = TRACKERS[self._name](_describe(self._out))
        answers, nights = iter(self._answers.read()), iter(self._nights.read())
        for phase in self._phases.read():
            self._seen += 1
            self._pending += islice(answers, phase["questions"])
            if phase["phase"] == "sleep":
                self._costs = next(nights)
            elif phase["phase"] == "morning":
                numbers = numbers_of_night(phase["night"], self._pending, self._costs)
                if self._seen > self._old:
                    self._tracker.log(phase["night"], numbers)
                self._pending = []

    def _finish(self) -> None:
        if self._tracker is None:  # nothing happened: the run had ended, or it was refused
            if not TRACKERS[self._name].repeats or not (self._out / "run.json").is_file():
                return
            self._tell()
        assert self._tracker is not None
        record = read_run(self._out)
        scores = score_run(record) if record.finished else {}
        self._tracker.finish({name: v for name, v in scores.items() if v is not None})


class _Tail:
    """The lines of a growing JSON-lines file, each read once."""

    def __init__(self, file: Path) -> None:
        self._file, self._offset = file, 0

    def count(self) -> int:
        """Complete lines that are there."""
        return self._file.read_bytes().count(b"\n") if self._file.exists() else 0

    def read(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        with open(self._file, "rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def _describe(out: Path) -> Described:
    meta = read_meta(out)
    settings = {**meta["spec"], "stream_hash": meta["stream_hash"]}
    identity = json.dumps([settings, meta.get("salt"), str(out.resolve())], sort_keys=True)
    return Described(
        id=hashlib.sha256(identity.encode()).hexdigest()[:16],
        name=f"{meta['label']}/seed-{meta['spec']['seed']}",
        group=meta["spec"]["env"],
        settings=settings,
        path=out,
    )

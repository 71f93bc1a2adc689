"""Scores computed again from answers and key, wherever the stream can be built here.

The scores in a record are what its maker's machine wrote. Whoever reports them builds the stream
again from its seed and grades every answer; a score that comes out otherwise is named, and the
computed one is used.
"""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sleepgym.core.env import make_env
from sleepgym.core.errors import SleepGymError
from sleepgym.core.family import TaskFamily
from sleepgym.core.types import AnswerKey
from sleepgym.runs.records import RunRecord

_log = logging.getLogger("sleepgym")
_TOLERANCE = 1e-9
_STREAMS = 64  # answer keys kept: a comparison of several agents builds each stream once


@dataclass(frozen=True)
class Grader:
    """Grades answers on one stream.

    Attributes:
        family: Scores an answer against a target.
        key: The accepted answers.
        stream_hash: Of the stream.
    """

    family: TaskFamily
    key: AnswerKey
    stream_hash: str
    _known: dict[tuple[str, str], float] = field(default_factory=dict)

    def grade(self, item: str, answer: str) -> float:
        """The best score of an answer against the targets of an item.

        Raises:
            KeyError: If the stream has no such item.
        """
        if (item, answer) not in self._known:
            score = max(self.family.score_item(item, answer, target) for target in self.key[item])
            self._known[item, answer] = score
        return self._known[item, answer]


@dataclass(frozen=True)
class Regraded:
    """A record with the scores that were computed.

    Attributes:
        record: The record.
        problems: Lines that are not as they were written, and scores that came out otherwise.
        reason: Why its scores are the recorded ones; None where they were computed.
    """

    record: RunRecord
    problems: tuple[str, ...] = ()
    reason: str | None = None


def regrade(record: RunRecord) -> Regraded:
    """Grade every answer of a record again, if its stream can be built here."""
    spec = record.meta["spec"]
    settings = {**spec["env_settings"], "exams": spec["exams"]}
    try:
        grader = _grader(
            spec["env"], json.dumps(settings, sort_keys=True), spec["seed"], record.meta.get("data")
        )
    except SleepGymError as error:
        return Regraded(record, record.altered, str(error))
    except Exception as error:  # a family that is not ours may raise anything
        return Regraded(record, record.altered, f"{type(error).__name__}: {error!s:.200}")
    if grader.stream_hash != record.meta["stream_hash"]:
        reason = f"seed {spec['seed']} of {spec['env']} makes another stream here"
        return Regraded(record, record.altered, reason)
    answers, problems = [], list(record.altered)
    wrong = 0
    for number, line in enumerate(record.answers, start=1):
        where = f"{record.path / 'answers.jsonl'}, line {number}"
        try:
            score = grader.grade(line["id"], line["answer"])
        except KeyError:
            return Regraded(record, (*problems, f"{where}: no question is called {line['id']!r}"))
        if not math.isclose(score, line["score"], abs_tol=_TOLERANCE):
            wrong += 1
            if wrong == 1:
                problems.append(
                    f"{where}: score {line['score']:g} is recorded, its answer is worth {score:g}"
                )
            line = {**line, "score": score}
        answers.append(line)
    if wrong:
        more = f" (and {wrong - 1} more lines)" if wrong > 1 else ""
        problems[-1] += f"{more}: what was computed is used"
    return Regraded(replace(record, answers=answers), tuple(problems))


def regraded(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Records with computed scores; what is odd about them is said.

    A warning a problem; a line of log for each reason why scores are the recorded ones.
    """
    results = [regrade(record) for record in records]
    announce(results)
    return [result.record for result in results]


def announce(results: Sequence[Regraded]) -> list[str]:
    """Say what is odd about some records; the same as lines."""
    problems, reasons = problems_of(results), reasons_of(results)
    for problem in problems:
        warnings.warn(problem, stacklevel=4)
    for line in reasons:
        _log.warning(line)
    return problems + reasons


def problems_of(results: Sequence[Regraded]) -> list[str]:
    """Lines that are not as they were written, and scores that came out otherwise."""
    return [problem for result in results for problem in result.problems]


def reasons_of(results: Sequence[Regraded]) -> list[str]:
    """Why some scores are the recorded ones: a line a reason."""
    reasons: dict[str, list[Path]] = {}
    for result in results:
        if result.reason is not None:
            reasons.setdefault(result.reason, []).append(result.record.path)
    lines = []
    for reason, paths in reasons.items():
        more = f" (and {len(paths) - 1} more runs)" if len(paths) > 1 else ""
        lines.append(f"scores as recorded in {paths[0]}{more}: {reason}")
    return lines


@lru_cache(maxsize=_STREAMS)
def _grader(env: str, settings: str, seed: int, data: str | None) -> Grader:
    made: Mapping[str, Any] = json.loads(settings)
    folder = Path(data) if data and Path(data).is_dir() else os.environ.get("SLEEPGYM_DATA")
    built = make_env(env, data=folder, **made)
    built.reset(seed=seed)
    assert built.stream is not None
    return Grader(built.family, built.stream.key, built.stream.content_hash)

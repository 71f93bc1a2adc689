"""What a run got wrong, question by question: when it was known, and when no longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sleepgym.runs.records import RunRecord
from sleepgym.runs.samples import Sample, read_samples

RIGHT = 0.5  # the least score of an answer that counts as right

FATES = {
    "not read": "wrong in the evening too, with the day still in the context",
    "lost overnight": "right in the evening, wrong on every morning since",
    "forgotten": "right on an earlier morning, wrong on the last that asked",
    "never known": "base knowledge that the model did not have",
    "kept": "right on the last morning that asked",
}
"""What became of a question -> what that means; the worst news first."""


@dataclass(frozen=True)
class Span:
    """Exams in a row that got the same answer.

    Attributes:
        exams: Which, in words: ``evening``, ``mornings 1-3``.
        answer: The answer.
        right: Whether it counted as right.
    """

    exams: str
    answer: str
    right: bool


@dataclass(frozen=True)
class Trace:
    """One question of an exam and every answer to it, in order.

    Attributes:
        id: Of the item.
        kind: What it probes.
        day: The day that teaches it; 0 for base knowledge.
        fate: A key of :data:`FATES`.
        question: Its text; empty where the record holds no samples.
        choices: Its choices when it was last asked.
        gold: Accepted answers; empty where the record holds no samples.
        answer: The last answer.
        history: (phase, night, score) of each exam that asked it, from the day that teaches it.
        answers: The answer to each of these.
    """

    id: str
    kind: str
    day: int
    fate: str
    question: str
    choices: tuple[str, ...]
    gold: tuple[str, ...]
    answer: str
    history: tuple[tuple[str, int, float], ...]
    answers: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether it was wrong when it was last asked."""
        return self.fate != "kept"

    @property
    def story(self) -> str:
        """Its history in words: ``evening right, morning 1 wrong``."""
        words = []
        for phase, night, score in self.history:
            place = phase if phase == "evening" else f"{phase} {night}"
            words.append(f"{place} {'right' if score >= RIGHT else 'wrong'}")
        return ", ".join(words)

    @property
    def spans(self) -> list[Span]:
        """Its answers in order, those that stayed the same told once."""
        rows = [
            (phase, night, answer, score >= RIGHT)
            for (phase, night, score), answer in zip(self.history, self.answers, strict=True)
        ]
        spans = []
        for (phase, answer, right), group in groupby(rows, key=lambda r: (r[0], *r[2:])):
            nights = [night for _, night, *_ in group]
            spans.append(Span(_exams(phase, nights[0], nights[-1]), answer, right))
        return spans

    @property
    def wrong_since(self) -> int | None:
        """The morning from which on it was wrong for good; None: it was kept, or never known."""
        right = [night for phase, night, score in self.history if score >= RIGHT]
        after = [night for phase, night, _ in self.history if right and night > right[-1]]
        return after[0] if after else None


def trace_questions(record: RunRecord, remake: bool = True) -> list[Trace]:
    """Every question that an exam of a run asked since it was taught, by day and id.

    Args:
        record: The run, finished or not.
        remake: Whether a stream is made again to know the questions of a record without samples.
    """
    return trace_answers(record.answers, read_samples(record, remake))


def trace_answers(
    answers: Iterable[dict[str, Any]], samples: Mapping[tuple[int, str], Sample]
) -> list[Trace]:
    """The same from lines as ``answers.jsonl`` and ``samples.jsonl`` have them.

    Args:
        answers: Lines with step, id, kind, item_day, phase, day, night, answer and score, in order.
        samples: (step, id) -> question, choices and gold, as far as they are known.
    """
    asked: dict[str, list[dict[str, Any]]] = {}
    for line in answers:
        taught = line["item_day"] == 0 or (line["day"] >= line["item_day"])
        if line["phase"] != "practice" and taught:
            asked.setdefault(line["id"], []).append(line)
    traces = [_trace(lines, samples) for lines in asked.values()]
    return sorted(traces, key=lambda trace: (trace.day, trace.id))


def by_turns(traces: Iterable[Trace]) -> list[Trace]:
    """The same, one of every kind by turns, base knowledge last: the first few show them all."""
    kinds: dict[str, list[Trace]] = {}
    for trace in traces:
        kinds.setdefault(trace.kind, []).append(trace)
    ranked = [
        (trace.day == 0, turn, kind, trace)
        for kind, group in kinds.items()
        for turn, trace in enumerate(group)
    ]
    return [trace for *_, trace in sorted(ranked, key=lambda row: row[:3])]


def _trace(lines: list[dict[str, Any]], samples: Mapping[tuple[int, str], Sample]) -> Trace:
    last = lines[-1]
    sample = samples.get((last["step"], last["id"]), {})
    return Trace(
        id=last["id"],
        kind=last["kind"],
        day=last["item_day"],
        fate=_fate(lines),
        question=sample.get("question", ""),
        choices=tuple(sample.get("choices", ())),
        gold=tuple(sample.get("gold", ())),
        answer=last["answer"],
        history=tuple((line["phase"], line["night"], line["score"]) for line in lines),
        answers=tuple(line["answer"] for line in lines),
    )


def _exams(phase: str, first: int, last: int) -> str:
    if phase == "evening":
        return phase
    return f"{phase} {first}" if first == last else f"{phase}s {first}\N{EN DASH}{last}"


def _fate(lines: list[dict[str, Any]]) -> str:
    right = [line["score"] >= RIGHT for line in lines]
    if right[-1]:
        return "kept"
    if any(good and line["phase"] == "morning" for good, line in zip(right, lines, strict=True)):
        return "forgotten"
    if lines[-1]["item_day"] == 0:
        return "never known"
    return "lost overnight" if any(right) else "not read"

"""The order of phases: who is asked what, and when. A pure function of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sleepgym.core.rng import derive_rng
from sleepgym.core.types import Document, Item, Phase, Question, Stream

Exams = Literal["full", "spaced"]


@dataclass(frozen=True, slots=True)
class Step:
    """One phase.

    Attributes:
        phase: Which.
        day: The day it belongs to; 0 for the baseline exam before day 1.
        night: Nights slept so far; the row of a closed-book exam in the accuracy matrix.
        closed_book: True where the context was wiped since the material was seen.
        documents: What STUDY shows.
        items: What PRACTICE or EXAM asks.
        questions: The same, as the agent sees them.
    """

    phase: Phase
    day: int
    night: int
    closed_book: bool = False
    documents: tuple[Document, ...] = ()
    items: tuple[Item, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def name(self) -> str:
        """study, practice, evening, sleep or morning."""
        if self.phase is Phase.EXAM:
            return "morning" if self.closed_book else "evening"
        return self.phase.name.lower()

    @property
    def where(self) -> str:
        """The phase in words."""
        words = {"morning": f"morning after night {self.night}", "sleep": f"night {self.day}"}
        return words.get(self.name, f"{self.name} of day {self.day}")


def schedule(stream: Stream, exams: Exams = "full") -> Iterator[Step]:
    """The phases of a stream, in order.

    The morning after night k asks about the base knowledge, day k + 1 (forward transfer) and
    days 1..k: all of them (``full``), or those of age 0, 1, 2, 4, 8, ... (``spaced``, so that an
    exam costs log T and a stream T log T). The baseline and the last morning ask about all days.

    Args:
        stream: The stream.
        exams: Which earlier days a morning asks about.
    """
    labels = _labels_by_day(stream)
    total = len(stream.days)
    yield _morning(stream, labels, 0, range(1, total + 1))
    for day in stream.days:
        k = day.number
        if day.documents:
            yield Step(Phase.STUDY, k, k - 1, documents=day.documents)
        for round_items in day.practice:
            yield _asked(Phase.PRACTICE, k, k - 1, False, round_items, labels)
        if day.exam:
            yield _asked(Phase.EXAM, k, k - 1, False, day.exam, labels)
        yield Step(Phase.SLEEP, k, k - 1)
        asked = [j for j in range(1, k + 1) if k == total or exams == "full" or _spaced(k - j)]
        yield _morning(stream, labels, k, [*asked, *([k + 1] if k < total else [])])


def _spaced(age: int) -> bool:
    return age & (age - 1) == 0  # 0 and the powers of two


def _labels_by_day(stream: Stream) -> list[tuple[str, ...]]:
    labels: list[tuple[str, ...]] = [()]
    for day in stream.days:
        labels.append(labels[-1] + day.labels)
    return labels


def _morning(stream: Stream, labels: list[tuple[str, ...]], night: int, days) -> Step:
    exams = [stream.base, *(stream.days[number - 1].exam for number in days)]
    items = [i for exam in exams for i in exam if i.until is None or night <= i.until]
    order = derive_rng(stream.seed, "morning", night).permutation(len(items))
    shuffled = tuple(items[i] for i in order)
    return _asked(Phase.EXAM, night, night, True, shuffled, labels)


def _asked(
    phase: Phase,
    day: int,
    night: int,
    closed_book: bool,
    items: tuple[Item, ...],
    labels: list[tuple[str, ...]],
) -> Step:
    questions = tuple(
        item.question
        if item.question.choices or not labels[-1]
        else Question(item.question.text, labels[max(day, item.day)])
        for item in items
    )
    return Step(phase, day, night, closed_book, items=items, questions=questions)

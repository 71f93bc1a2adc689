"""The order of phases: who is asked what, and when. A pure function of a stream."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, overload

from sleepgym.core.rng import derive_rng
from sleepgym.core.types import (
    AnswerKey,
    Day,
    Document,
    Experience,
    Item,
    Phase,
    Question,
    Stream,
)

Exams = Literal["full", "spaced", "sampled"]
SAMPLED_DAYS = 64  # that the last morning of sampled exams asks about


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
    documents: Sequence[Document] = ()
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


def schedule(stream: Stream, exams: Exams = "full") -> Schedule:
    """The phases of a stream, in order; see :class:`Schedule`."""
    return Schedule(stream, exams)


class Schedule(Sequence[Step]):
    """The phases of a stream, each made when it is asked for.

    The morning after night k asks about the base knowledge, day k + 1 (forward transfer) and
    days 1..k: all of them (``full``), or those of age 0, 1, 2, 4, 8, ... (``spaced`` and
    ``sampled``, so that an exam costs log T and a stream T log T). The baseline and the last
    morning ask about all days. Those of ``sampled`` do not, so that no exam needs the whole stream:
    the baseline asks about the base knowledge and day 1, the last morning about
    :data:`SAMPLED_DAYS` days, which the seed draws, each as likely as another.

    Args:
        stream: The stream.
        exams: Which earlier days a morning asks about.
    """

    def __init__(self, stream: Stream, exams: Exams = "full") -> None:
        self._stream, self._exams = stream, exams
        outlines = stream.outlines
        sizes = (outline.reads + outline.rounds + outline.asks + 2 for outline in outlines)
        self._starts = list(accumulate(sizes, initial=1))  # of days; the baseline comes before
        self._labels = list(accumulate((o.labels for o in outlines), initial=()))
        self._last: tuple[int, Step] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"phase {index} of {len(self)}")
        if self._last is None or self._last[0] != place:
            self._last = place, self._make(place)
        return self._last[1]

    def days_asked(self, night: int) -> Sequence[int]:
        """The days that the morning after a night asks about, in order."""
        total = len(self._stream.outlines)
        if night == 0:
            return (1,) if self._exams == "sampled" else range(1, total + 1)
        if night < total:
            full = self._exams == "full"
            return [*(j for j in range(1, night + 1) if full or _spaced(night - j)), night + 1]
        if self._exams != "sampled" or total <= SAMPLED_DAYS:
            return range(1, total + 1)
        rng = derive_rng(self._stream.seed, "last morning")
        return sorted(int(j) + 1 for j in rng.choice(total, SAMPLED_DAYS, replace=False))

    def _make(self, place: int) -> Step:
        if place == 0:
            return self._morning(0)
        k = bisect_right(self._starts, place)
        outline = self._stream.outlines[k - 1]
        phase = place - self._starts[k - 1]
        if phase < outline.reads:
            return Step(Phase.STUDY, k, k - 1, documents=self._stream.days[k - 1].documents)
        phase -= outline.reads
        if phase < outline.rounds:
            items = self._stream.days[k - 1].practice[phase]
            return self._asked(Phase.PRACTICE, k, k - 1, False, items)
        phase -= outline.rounds
        if phase < outline.asks:
            return self._asked(Phase.EXAM, k, k - 1, False, self._stream.days[k - 1].exam)
        return self._morning(k) if phase > outline.asks else Step(Phase.SLEEP, k, k - 1)

    def _morning(self, night: int) -> Step:
        stream = self._stream
        measured = night % stream.base_every == 0 or night == len(stream.outlines)
        base = stream.base if measured else ()
        exams = [base, *(stream.days[number - 1].exam for number in self.days_asked(night))]
        items = [i for exam in exams for i in exam if i.until is None or night <= i.until]
        order = derive_rng(stream.seed, "morning", night).permutation(len(items))
        return self._asked(Phase.EXAM, night, night, True, tuple(items[i] for i in order))

    def _asked(
        self, phase: Phase, day: int, night: int, closed_book: bool, items: tuple[Item, ...]
    ) -> Step:
        labels = self._labels
        questions = tuple(
            item.question
            if item.question.choices or not labels[-1]
            else Question(item.question.text, labels[max(day, item.day)])
            for item in items
        )
        return Step(phase, day, night, closed_book, items=items, questions=questions)


def _spaced(age: int) -> bool:
    return age & (age - 1) == 0  # 0 and the powers of two


def experience_of(step: Step, key: AnswerKey) -> Experience:
    """What a STUDY or PRACTICE phase teaches."""
    if step.phase is Phase.STUDY:
        return Experience(documents=step.documents)
    return Experience((), step.questions, tuple(key[item.id][0] for item in step.items))


def experiences_of(day: Day, key: AnswerKey) -> Iterator[Experience]:
    """What a whole day teaches, outside of a run: questions without the labels of other days."""
    if day.documents:
        yield Experience(documents=day.documents)
    for items in day.practice:
        questions = tuple(item.question for item in items)
        yield Experience((), questions, tuple(key[item.id][0] for item in items))

"""What a stream is made of. Everything is frozen; the answer key is kept apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

from sleepgym.core.html import html_table


class Phase(IntEnum):
    """The phases of a day; one environment step is one phase."""

    STUDY = 0
    PRACTICE = 1
    EXAM = 2
    SLEEP = 3


@dataclass(frozen=True, slots=True)
class Document:
    """A text to read while awake."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """All that an agent sees of a question: no id, no kind, no day, no answer.

    Attributes:
        text: The question, complete in itself.
        choices: The allowed answers; empty where the answer is free text.
    """

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Experience:
    """One waking phase as an agent receives it: documents read, or practice with its feedback.

    Attributes:
        documents: What was read; empty for practice.
        questions: What was practised.
        answers: The right answers to ``questions``, one each.
    """

    documents: Sequence[Document] = ()
    questions: tuple[Question, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Introduction:
    """What every agent is told before anything else, at every exam and every night alike.

    It holds nothing that an exam asks: it shows what documents, questions and answers look like.

    Attributes:
        instruction: What an answer should look like; a chat model's system line. May be empty.
        exemplars: Documents from outside the stream, each with questions and their answers.
    """

    instruction: str = ""
    exemplars: tuple[Experience, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.instruction or self.exemplars)


@dataclass(frozen=True, slots=True)
class Item:
    """A question as the environment keeps it.

    Attributes:
        id: Unique within the stream.
        question: What the agent sees.
        kind: What the question probes: direct, paraphrase, reversed, two-hop, updated, base, ...
        day: The day that teaches the answer, from 1; 0 for base knowledge known at birth.
        until: The last night after which the answer is still true and asked for; None for ever.
    """

    id: str
    question: Question
    kind: str
    day: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """What one day brings.

    Attributes:
        number: From 1.
        documents: Read in STUDY; no STUDY phase where empty. Long ones are made on demand
            (:class:`sleepgym.core.lazy.sequences.LazySequence`).
        practice: Rounds of questions; each round is one PRACTICE phase followed by its answers.
        exam: Questions about this day, asked in its evening and on mornings from then on.
        labels: Answer labels that this day introduces (class-incremental streams). An item without
            choices of its own is offered the labels of days 1 to max(today, its own day).
    """

    number: int
    documents: Sequence[Document] = ()
    practice: tuple[tuple[Item, ...], ...] = ()
    exam: tuple[Item, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """The phases of a day, known before its contents are.

    Attributes:
        reads: Whether it has documents.
        rounds: Rounds of practice.
        asks: Whether it has an evening exam.
        labels: Answer labels that it introduces.
    """

    reads: bool
    rounds: int
    asks: bool
    labels: tuple[str, ...] = ()


class AnswerKey(Mapping[str, tuple[str, ...]]):
    """Item id -> accepted answers, the first of which is the one shown as feedback.

    Its ``repr`` does not show the answers, so that a log or a traceback cannot leak them.
    """

    def __init__(self, answers: Mapping[str, tuple[str, ...]]) -> None:
        self._answers = dict(answers)

    def __getitem__(self, item_id: str) -> tuple[str, ...]:
        return self._answers[item_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"AnswerKey({len(self)} items)"


@dataclass(frozen=True)
class Stream:
    """Days of material; a pure function of (family, configuration, seed).

    Attributes:
        family: Name of the task family.
        config: The family's configuration as plain values.
        seed: The seed it was made from.
        days: Days 1..T in order.
        base: Questions about what the model knew at birth (day 0).
        key: The accepted answers; never part of an observation.
        introduction: Instruction and exemplars that every agent gets.
        base_every: Nights from one exam that asks about base knowledge to the next; the baseline
            and the last morning always do.
    """

    family: str
    config: Mapping[str, Any]
    seed: int
    days: Sequence[Day]
    base: tuple[Item, ...] = ()
    key: AnswerKey = field(default_factory=lambda: AnswerKey({}), repr=False)
    introduction: Introduction = Introduction()
    base_every: int = 1

    @cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """The phases of every day."""
        return tuple(
            Outline(bool(day.documents), len(day.practice), bool(day.exam), day.labels)
            for day in self.days
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over every document, question and answer, in order, and the introduction.

        A stream without an introduction has the hash of its days alone.
        """
        return self.full_hash()

    def full_hash(self) -> str:
        """SHA-256 (hex) over every document, question and answer, read one after another."""
        digest = hashlib.sha256()
        for part in self._content():
            digest.update(part.encode())
        return digest.hexdigest()

    def _content(self) -> Iterator[str]:
        """What is hashed, in parts: the JSON of days, base items and sorted answers."""
        key = ([json.dumps(entry)] for entry in sorted(self.key.items()))
        base = ([_json(item)] for item in self.base)
        parts = [json_array(map(day_content, self.days)), json_array(base), json_array(key)]
        if self.introduction:
            parts.append(iter([_json(self.introduction)]))
        return json_array(parts)

    def _repr_html_(self) -> str:
        """A row a day, in a notebook; the answer key is not shown."""
        rows = [
            (
                day.number,
                len(day.documents),
                sum(map(len, day.practice)),
                len(day.exam),
                f"{day.documents[0].text:.100}" if day.documents else None,
                day.exam[0].question.text if day.exam else None,
            )
            for day in self.days
        ]
        caption = f"Stream of {self.family}, seed {self.seed}, hash {self.content_hash[:12]}"
        names = ("day", "documents", "practised", "in its exam", "first document", "first question")
        return html_table(caption, names, rows)


def day_content(day: Day) -> Iterator[str]:
    """A day as JSON with sorted names, in parts: no document is held beside another."""
    yield '{"documents": '
    yield from json_array([_json(document)] for document in day.documents)
    rest = {
        "exam": [asdict(item) for item in day.exam],
        "labels": day.labels,
        "number": day.number,
        "practice": [[asdict(item) for item in items] for items in day.practice],
    }
    yield f", {json.dumps(rest, sort_keys=True)[1:]}"


def json_array(elements: Iterable[Iterable[str]]) -> Iterator[str]:
    """A JSON array in parts, of elements in parts."""
    yield "["
    for place, parts in enumerate(elements):
        if place:
            yield ", "
        yield from parts
    yield "]"


def _json(value: Any) -> str:
    return json.dumps(asdict(value), sort_keys=True)


def question_hash(question: Question) -> str:
    """16 hex digits that identify the text and choices an agent was shown."""
    content = json.dumps([question.text, question.choices])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def plain_text(text: str) -> str:
    """The same characters as an exact ``str`` that can be written as UTF-8.

    Halves of a surrogate pair are joined; one that stands alone becomes U+FFFD. A subclass, whose
    comparison could be its own, loses its class.
    """
    exact = str.__str__(text)
    if exact.isascii():
        return exact
    return exact.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

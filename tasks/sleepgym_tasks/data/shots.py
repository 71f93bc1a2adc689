"""What agents are shown before the first day: instruction and exemplars from outside the stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated

from annotated_types import Interval

from sleepgym import Document, Question, Settings, Stream
from sleepgym.core.rng import derive_seed
from sleepgym.core.types import Experience, Introduction

QUESTIONS = 24  # of an exemplar, at most


@dataclass(frozen=True)
class ShotSettings(Settings):
    """What every agent is told before anything else, in a stream whose answers are free text.

    Both are the same for all agents and part of the stream's hash.

    Attributes:
        shots: Exemplars: texts from outside the stream, each with questions and their answers.
        instruction: Whether the task says in a sentence what an answer looks like (the system line
            of a model with a chat template); where None, along with exemplars.
    """

    shots: Annotated[int, Interval(ge=0, le=32)] = 0
    instruction: bool | None = None


def introduce(
    config: ShotSettings, instruction: str, exemplars: Callable[[], Sequence[Experience]]
) -> Introduction:
    """The introduction that the settings ask for.

    Args:
        config: The settings.
        instruction: The task's own.
        exemplars: Makes ``config.shots`` of them.
    """
    says = config.shots > 0 if config.instruction is None else config.instruction
    return Introduction(instruction if says else "", tuple(exemplars() if config.shots else ()))


def introduced(
    stream: Stream,
    config: ShotSettings,
    instruction: str,
    make: Callable[[int], Stream],
    seeds: Iterable[int] | None = None,
    show: Callable[[Stream, int], Experience] | None = None,
) -> Stream:
    """A stream with the introduction that the settings ask for, its exemplars from another stream.

    Args:
        stream: The stream.
        config: Its settings.
        instruction: The task's own.
        make: The other stream of a seed.
        seeds: Of other streams, in the order in which they are tried; where None, derived from the
            stream's.
        show: Makes an exemplar of a day of that stream, by its index; where None, the documents and
            :data:`QUESTIONS` of the exam at most, kinds in turn.
    """
    if seeds is None:
        seeds = (derive_seed(stream.seed, "shots", attempt) for attempt in count())
    shown = introduce(config, instruction, lambda: from_another_stream(stream, make, seeds, show))
    return replace(stream, introduction=shown)


def exemplar(documents: Iterable[Document], asked: Iterable[tuple[str, str]]) -> Experience:
    """An exemplar of documents, and questions with their answers."""
    pairs = list(asked)
    return Experience(
        tuple(documents),
        tuple(Question(text) for text, _ in pairs),
        tuple(answer for _, answer in pairs),
    )


def from_another_stream(
    stream: Stream,
    make: Callable[[int], Stream],
    seeds: Iterable[int],
    show: Callable[[Stream, int], Experience] | None = None,
) -> tuple[Experience, ...]:
    """The days of another stream as exemplars: one that has no title and no question of this one.

    Args:
        stream: The stream that they introduce.
        make: The other stream of a seed.
        seeds: In the order in which they are tried, without end.
        show: Makes an exemplar of a day of that stream.
    """
    own = set(_titles(stream)) | {item.question.text for day in stream.days for item in day.exam}
    for seed in seeds:
        other = make(seed)
        shown = [(show or shown_day)(other, number) for number in range(len(other.days))]
        asked = (question.text for one in shown for question in one.questions)
        if own.isdisjoint(_titles(other)) and own.isdisjoint(asked):
            return tuple(shown)
    raise AssertionError


def _titles(stream: Stream) -> Iterator[str]:
    return (d.title for day in stream.days for d in day.documents if d.title)


def shown_day(stream: Stream, number: int, questions: int = QUESTIONS) -> Experience:
    """A day of a stream with at most so many ``questions`` of its exam, kinds in turn."""
    day = stream.days[number]
    kinds: dict[str, int] = {}
    ranked = []
    for place, item in enumerate(day.exam):
        kinds[item.kind] = kinds.get(item.kind, 0) + 1
        ranked.append((kinds[item.kind], place, item))
    taken = sorted(ranked, key=lambda row: row[:2])[:questions]
    return exemplar(
        day.documents, [(item.question.text, stream.key[item.id][0]) for _, _, item in taken]
    )


def spread(shown: Experience) -> Experience:
    """The exemplar with its questions in another order: neighbours ask about different documents.

    A question is about the first document that holds its answer. Where neighbours ask about the
    same document, a small model learns from them to go on as before instead of looking.
    """
    about: dict[int, list[tuple[str, str]]] = {}
    for question, answer in zip(shown.questions, shown.answers, strict=True):
        holds = (answer.casefold() in document.text.casefold() for document in shown.documents)
        place = next((i for i, found in enumerate(holds) if found), 0)
        about.setdefault(place, []).append((question.text, answer))
    lines = [about[place] for place in sorted(about)]
    longest = max(map(len, lines), default=0)
    turns = [line[turn] for turn in range(longest) for line in lines if turn < len(line)]
    return exemplar(shown.documents, turns)

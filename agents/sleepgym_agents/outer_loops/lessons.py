"""Days of training streams as token ids: what is read, and the questions that it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sleepgym.core.env import make_env
from sleepgym.core.errors import BadSetting
from sleepgym.core.schedule import experiences_of
from sleepgym_agents.lm.prompts import Prompter

LAST_SEED = 99  # those above are for evaluation
Ids = tuple[int, ...]
Pair = tuple[Ids, Ids]  # a question and its answer with the stop marker
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class TrainingStreams:
    """Streams to train on.

    Attributes:
        envs: Environment ids.
        seeds: Seeds of their streams, none above 99: the others are for evaluation.
        days: Days of a stream.
        env_settings: Further settings of the environments.
        data: Folder of original data files.
    """

    envs: tuple[str, ...] = ("sleepgym/Almanac-v1",)
    seeds: tuple[int, ...] = tuple(range(100))
    days: int = 8
    env_settings: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        above = [seed for seed in self.seeds if seed > LAST_SEED]
        if above:
            raise BadSetting(
                f"seeds={above[0]}: training streams have seeds 0 to {LAST_SEED}; "
                "those from 100 on are for evaluation"
            )
        if not self.envs or not self.seeds:
            raise BadSetting("env, seeds: at least one stream is needed to train on")


@dataclass(frozen=True)
class LessonDay:
    """A day as it is read.

    Attributes:
        parts: Token ids of documents and demonstrations, in order.
        pairs: Questions of its exam with answers, and the last day on which each holds.
    """

    parts: tuple[Ids, ...]
    pairs: tuple[tuple[Pair, int], ...]


@dataclass(frozen=True)
class LessonStream:
    """A stream as it is read.

    Attributes:
        env: Environment id.
        days: Its days, in order.
        base: Questions with answers that the base model knows.
    """

    env: str
    days: tuple[LessonDay, ...]
    base: tuple[Pair, ...]

    def window(self, rng: np.random.Generator, days: int) -> tuple[list[Ids], list[Pair]]:
        """What some days in a row, drawn at random, show, and the questions that hold after them.

        Args:
            rng: Draws the first day.
            days: How many, at most all.
        """
        days = min(days, len(self.days))
        first = int(rng.integers(len(self.days) - days + 1))
        last = first + days
        chosen = self.days[first:last]
        parts = [part for day in chosen for part in day.parts]
        return parts, [pair for day in chosen for pair, until in day.pairs if until >= last]


def read_streams(
    streams: TrainingStreams, prompter: Prompter, progress: Progress | None = None
) -> list[LessonStream]:
    """The streams as token ids.

    Args:
        streams: Which.
        prompter: Turns texts into token ids.
        progress: Called after every stream with (streams read, in all, what).
    """
    found: list[LessonStream] = []
    for env in streams.envs:
        family = make_env(
            env, data=streams.data, **{"days": streams.days, **streams.env_settings}
        ).family
        for seed in streams.seeds:
            stream = family.stream(seed)
            days = []
            for day in stream.days:
                parts: list[Sequence[int]] = []
                for experience in experiences_of(day, stream.key):
                    parts += map(prompter.document, experience.documents)
                    asked = zip(experience.questions, experience.answers, strict=True)
                    parts += (prompter.demonstration(q.text, answer) for q, answer in asked)
                pairs = [
                    (pair, item.until or streams.days)
                    for item, pair in zip(day.exam, _pairs(prompter, day.exam, stream), strict=True)
                ]
                days.append(LessonDay(tuple(map(tuple, parts)), tuple(pairs)))
            base = tuple(_pairs(prompter, stream.base, stream))
            found.append(LessonStream(env, tuple(days), base))
            if progress:
                total = len(streams.envs) * len(streams.seeds)
                progress(len(found), total, f"reading {env}, seed {seed}")
    return found


def _pairs(prompter: Prompter, items: Sequence, stream) -> Iterator[Pair]:
    for item in items:
        answer = stream.key[item.id][0]
        yield tuple(prompter.question(item.question.text)), tuple(prompter.answer(answer))

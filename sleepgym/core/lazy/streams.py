"""A stream whose days are made one by one, when they are asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import overload

from sleepgym.core.types import AnswerKey, Day, Outline, Stream, day_content


class LazyDays(Sequence[Day]):
    """Days that are made when they are asked for, and kept.

    Args:
        total: How many.
        make: Makes the day of a number, from 1.
    """

    def __init__(self, total: int, make: Callable[[int], Day]) -> None:
        self._total, self._make = total, make
        self._made: dict[int, Day] = {}

    def __len__(self) -> int:
        return self._total

    @overload
    def __getitem__(self, index: int) -> Day: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Day, ...]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._total)))
        place = index + self._total if index < 0 else index
        if not 0 <= place < self._total:
            raise IndexError(f"day {index + 1} of {self._total}")
        if place not in self._made:
            self._made[place] = self._make(place + 1)
        return self._made[place]


class LazyKey(AnswerKey):
    """Answers that become known with their days; whoever asks for all of them has all days made.

    Args:
        known: Answers of the items made so far; grows.
        complete: Makes the rest.
    """

    def __init__(
        self, known: Mapping[str, tuple[str, ...]], complete: Callable[[], object]
    ) -> None:
        self._answers, self._complete = known, complete

    def __getitem__(self, item_id: str) -> tuple[str, ...]:
        if item_id not in self._answers:
            self._complete()
        return self._answers[item_id]

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(self._answers)

    def __len__(self) -> int:
        self._complete()
        return len(self._answers)

    def __repr__(self) -> str:
        return f"AnswerKey({len(self._answers)} items so far)"


@dataclass(frozen=True)
class LazyStream(Stream):
    """A stream whose days are :class:`LazyDays` and whose key is a :class:`LazyKey`.

    Attributes:
        plan: The phases of every day, known before the days are.
    """

    plan: tuple[Outline, ...] = ()

    @cached_property
    def outlines(self) -> tuple[Outline, ...]:
        """The phases of every day."""
        return self.plan

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over what the stream is made from, its plan, base items and first day.

        It costs one day, however long the stream; :meth:`full_hash` reads all of it.
        """
        made_from = [self.family, dict(self.config), self.seed, [asdict(o) for o in self.plan]]
        made_from += [asdict(self.introduction)] if self.introduction else []
        base = [[asdict(item), self.key[item.id]] for item in self.base]
        first = self.days[0]
        asked = [item.id for items in (*first.practice, first.exam) for item in items]
        answers = [[item_id, self.key[item_id]] for item_id in asked]
        digest = hashlib.sha256(json.dumps([made_from, base, answers], sort_keys=True).encode())
        for part in day_content(first):
            digest.update(part.encode())
        return digest.hexdigest()

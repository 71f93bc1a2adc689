"""Small things that every family needs: items with their answers, and orders drawn by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sleepgym import AnswerKey, Item, Question, derive_rng

T = TypeVar("T")


class ItemFactory:
    """Makes items and keeps their answers apart, for one stream."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[str, ...]] = {}

    def make(
        self,
        item_id: str,
        text: str,
        answers: Sequence[str],
        kind: str,
        day: int,
        choices: Sequence[str] = (),
        until: int | None = None,
    ) -> Item:
        """An item; its answers go into the key. See :class:`sleepgym.Item`."""
        assert item_id not in self._answers, item_id
        self._answers[item_id] = tuple(answers)
        return Item(item_id, Question(text, tuple(choices)), kind, day, until)

    def key(self) -> AnswerKey:
        """The answers of all items made so far."""
        return AnswerKey(self._answers)


def shuffled(values: Iterable[T], seed: int, *names: str | int) -> list[T]:
    """``values`` in a random order that depends on (seed, names) alone."""
    values = list(values)
    return [values[i] for i in derive_rng(seed, *names).permutation(len(values))]

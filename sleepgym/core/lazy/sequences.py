"""Sequences that are made when they are gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """A sequence that is made anew whenever it is gone through, and never held.

    Args:
        make: Begins it from the start; the same elements every time.
    """

    def __init__(self, make: Callable[[], Iterable[T]]) -> None:
        self._make = make
        self._length: int | None = None

    def __iter__(self) -> Iterator[T]:
        return iter(self._make())

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self)
        return self._length

    def __bool__(self) -> bool:
        return any(True for _ in self)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return tuple(self)[index]
        place = index + len(self) if index < 0 else index
        for element in islice(self, place, None) if place >= 0 else ():
            return element
        raise IndexError(f"element {index} of {len(self)}")

    def __eq__(self, other: object) -> bool:
        """Whether the other sequence has the same elements."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        end = object()
        return all(a == b for a, b in zip_longest(self, other, fillvalue=end))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "LazySequence(...)"

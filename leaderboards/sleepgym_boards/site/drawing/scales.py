"""Axes of pictures: from values to places, with ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sleepgym_boards.site.formatting import amount

_MOST_DECADES = 5
_LEAST, _MOST = 1e-9, 1e30  # on a logarithmic axis; what lies beyond is drawn at its end
_ROOM_FOR_ZERO = 26.0


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis.

    Attributes:
        low: Value at ``start``.
        high: Value at ``end``.
        start: Place of ``low``, in picture units.
        end: Place of ``high``.
        ticks: Place and label of each.
        logarithmic: Whether the decimal logarithm is drawn.
        zero: On a logarithmic axis, where 0 is drawn.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...] = ()
    logarithmic: bool = False
    zero: float | None = None

    def __call__(self, value: float) -> float:
        """The place of a value, rounded to a tenth."""
        if self.logarithmic and value <= 0:
            return self.start if self.zero is None else self.zero
        value = min(max(value, _LEAST), _MOST) if self.logarithmic else value
        low, high, value = (
            (math.log10(self.low), math.log10(self.high), math.log10(value))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        place = self.start + (value - low) / (high - low) * (self.end - self.start)
        return round(place, 1)


def linear(low: float, high: float, start: float, end: float, step: float) -> Scale:
    """A linear axis with a tick every ``step``."""
    bare = Scale(low, high, start, end)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    decimals = len(f"{step:g}".partition(".")[2])
    ticks = ((k * step, f"{k * step:.{decimals}f}") for k in range(first, last + 1))
    shown = tuple((bare(value), text.replace("-", "\N{MINUS SIGN}")) for value, text in ticks)
    return Scale(low, high, start, end, shown)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic axis over whole decades, with a place for 0 before them where one is needed."""
    values = list(values)
    positive = [min(max(value, _LEAST), _MOST) for value in values if value > 0] or [1.0]
    bottom, top = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    top = max(top, bottom + 1)
    zero = start if len(positive) < len(values) or not values else None
    begin = start if zero is None else start + _ROOM_FOR_ZERO
    bare = Scale(10.0**bottom, 10.0**top, begin, end, logarithmic=True, zero=zero)
    every = math.ceil((top - bottom) / _MOST_DECADES)
    ticks = [(bare(10.0**k), amount(10.0**k)) for k in range(bottom, top + 1, every)]
    if zero is not None:
        ticks.insert(0, (zero, "0"))
    return Scale(10.0**bottom, 10.0**top, begin, end, tuple(ticks), True, zero)

"""Accuracy matrices as tables of coloured numbers, or, of many days, as a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sleepgym_boards.verification.verdict import Row

LEVELS = 10
MOST_DAYS_AS_TABLE = 16


@dataclass(frozen=True)
class HeatPicture:
    """A matrix as one path a colour.

    Attributes:
        size: Rows and columns.
        paths: Level and SVG path of its cells.
        days: Days (and nights) to name on the axes.
    """

    size: int
    paths: list[tuple[int, str]]
    days: list[int]


def level(value: float) -> int:
    """The colour of an accuracy, 0 to :data:`LEVELS`."""
    return round(min(max(value, 0.0), 1.0) * LEVELS)


def heat_picture(matrix: Sequence[Row]) -> HeatPicture:
    """Cells of one colour that follow each other in a row become one stroke."""
    paths: dict[int, str] = defaultdict(str)
    for row, values in enumerate(matrix):
        column = 0
        while column < len(values):
            value, start = values[column], column
            column += 1
            if value is None:
                continue
            while column < len(values) and (v := values[column]) is not None:
                if level(v) != level(value):
                    break
                column += 1
            paths[level(value)] += f"M{start} {row}h{column - start}v1h-{column - start}z"
    size = len(matrix)
    step = next(s for s in (1, 2, 4, 8, 16, 32, 64) if size / s <= 9)
    return HeatPicture(size, sorted(paths.items()), list(range(step, size, step)))

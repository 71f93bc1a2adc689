"""What the pictures of a board show, as places; the templates draw them.

Every method is drawn once; which of them stand out or are seen at all is a matter of classes, so
that the script of the site chooses methods without computing anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.drawing.scales import Scale, linear, logarithmic
from sleepgym_boards.site.formatting import sentence, show, words
from sleepgym_boards.site.methods import Method
from sleepgym_boards.verification.verdict import Results, Row

WIDTH, HEIGHT = 380, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 26, 12, 44
_MOST_POINTS = 25
_LEARNED = 0.1
COSTS = {
    "night_flops": "FLOPs a night",
    "night_seconds": "seconds a night",
    "state_bytes": "bytes of saved state",
}


@dataclass(frozen=True)
class Mark:
    """A method in a picture.

    Attributes:
        method: The method.
        points: Places, in order.
        words: What a pointer over it is told.
    """

    method: Method
    points: tuple[tuple[float, float], ...]
    words: str


@dataclass(frozen=True)
class Picture:
    """A panel with two axes.

    Attributes:
        title: Heading.
        x: Horizontal axis.
        y: Vertical axis.
        x_label: What x is.
        marks: A method each.
        edge: Corners of the frontier; empty where there is none.
    """

    title: str
    x: Scale
    y: Scale
    x_label: str
    marks: tuple[Mark, ...]
    edge: tuple[tuple[float, float], ...] = ()
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def area(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plotted area."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM


def frontiers(board: Board, methods: Iterable[Method]) -> list[Picture]:
    """Headline against each cost; the edge is what no cheaper method reaches."""
    pictures = []
    for cost, label in COSTS.items():
        points = [
            (method, x, y)
            for method in methods
            if method.results
            and (x := method.results.mean.get(cost)) is not None
            and (y := method.results.mean.get(board.headline)) is not None
        ]
        if not points:
            continue
        x = logarithmic((x for _, x, _ in points), _LEFT, WIDTH - _RIGHT)
        y = _shares()
        marks = tuple(
            Mark(m, ((x(a), y(b)),), f"{m.name}: {show(board.headline, b)}, {show(cost, a)}")
            for m, a, b in points
        )
        costs = [(x(a), b) for _, a, b in points]
        edge = _edge(costs, higher_is_better(board.headline))
        corners = [(place, y(value)) for place, value in edge]
        pictures.append(
            Picture(
                f"{sentence(words(board.headline))} by {label}",
                x,
                y,
                label,
                marks,
                _steps(corners, WIDTH - _RIGHT),
            )
        )
    return pictures


def retention(methods: Iterable[Method]) -> list[Picture]:
    """Accuracy on a day, and the share of its first accuracy that is left, by nights since."""
    rows = [(method, method.results) for method in methods if method.results]
    accuracy = [(method, results.accuracy_by_age) for method, results in rows]
    shares = [(method, results.retention_curve) for method, results in rows if learned(results)]
    return [
        picture
        for picture in (
            _curves("Accuracy on a day, by nights since its own morning", accuracy, 1.0),
            _curves("Share left of a day's first accuracy", shares, 1.2),
        )
        if picture
    ]


def learned(results: Results) -> bool:
    """Whether accuracy on a day rose by 0.1 overnight, mean over days; else there is no share."""
    matrix = results.matrix
    rises = [
        after - before
        for day in range(1, len(matrix))
        if (after := matrix[day][day]) is not None and (before := matrix[day - 1][day]) is not None
    ]
    return bool(rises) and float(np.mean(rises)) >= _LEARNED


def nights(method: Method) -> Picture | None:
    """Evening (0) and morning (1) accuracy of one method by night."""
    assert method.results
    rows = method.results.nights
    if len(rows) < 2:
        return None
    x, y = _whole(1, len(rows)), _shares()
    lines = {
        "evening": [(night.night, night.evening) for night in rows],
        "morning": [(night.night, night.morning) for night in rows],
    }
    marks = tuple(
        Mark(
            method, tuple((x(night), y(value)) for night, value in line if value is not None), when
        )
        for when, line in lines.items()
    )
    return Picture("Evening and next morning, on the same questions", x, y, "night", marks)


def _curves(title: str, rows: list[tuple[Method, Row]], highest: float) -> Picture | None:
    longest = max((len(row) for _, row in rows), default=0)
    if longest < 2:
        return None
    ages = sorted({round(k) for k in np.geomspace(1, longest, _MOST_POINTS)})
    ages = [age - 1 for age in ages] if longest > _MOST_POINTS else list(range(longest))
    top = max((v for _, row in rows for v in row if v is not None), default=1.0)
    x, y = _whole(0, longest - 1), _shares(max(1.0, min(top, highest)))
    marks = []
    for method, row in rows:
        known = ((age, row[age]) for age in ages if age < len(row))
        points = tuple((x(age), y(min(v, highest))) for age, v in known if v is not None)
        if points:
            marks.append(Mark(method, points, method.name))
    return Picture(title, x, y, "nights since the day's own morning", tuple(marks))


def _shares(high: float = 1.0) -> Scale:
    return linear(0, high, HEIGHT - _BOTTOM, _TOP, 0.2)


def _whole(low: int, high: int) -> Scale:
    step = next(s for s in (1, 2, 4, 8, 16, 32, 64, 128, 256) if (high - low) / s <= 8)
    return linear(low, high, _LEFT, WIDTH - _RIGHT, step)


def _edge(points: list[tuple[float, float]], higher: bool) -> list[tuple[float, float]]:
    """The points that no cheaper or equally cheap one reaches, by cost."""
    sign = 1 if higher else -1
    edge: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -sign * point[1])):
        if not edge or sign * y > sign * edge[-1][1]:
            edge.append((x, y))
    return edge


def _steps(corners: list[tuple[float, float]], end: float) -> tuple[tuple[float, float], ...]:
    """A staircase through corners to the end of the axis."""
    path = corners[:1]
    for x, y in corners[1:]:
        path += [(x, path[-1][1]), (x, y)]
    return (*path, (end, path[-1][1]))

"""Invented grid puzzles: a rule, a few inputs with their outputs, and inputs to solve.

Grids are tuples of rows of colours 0-9, 0 the background, at most 10 x 10. Inputs are drawn so that
the demonstrations leave one rule of a family standing: no grid of a moving rule looks the same when
it is turned or mirrored, and every colour of a recolouring is shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

Grid = tuple[tuple[int, ...], ...]
FAMILIES = ("rotation", "flip", "recolouring", "counting", "symmetry")
LARGEST = 10
COLOURS = 4


class Puzzle(NamedTuple):
    """A rule as examples.

    Attributes:
        family: One of ``FAMILIES``.
        train: Inputs with their outputs, to learn the rule from.
        test: Inputs with their outputs, to solve.
    """

    family: str
    train: tuple[tuple[Grid, Grid], ...]
    test: tuple[tuple[Grid, Grid], ...]


def quarter(grid: Grid) -> Grid:
    """The grid turned clockwise by a quarter."""
    return tuple(zip(*grid[::-1], strict=True))


def mirror(grid: Grid) -> Grid:
    """Left and right exchanged."""
    return tuple(row[::-1] for row in grid)


def _turn(times: int) -> Callable[[Grid], Grid]:
    def turn(grid: Grid) -> Grid:
        for _ in range(times):
            grid = quarter(grid)
        return grid

    return turn


_FLIPS: tuple[Callable[[Grid], Grid], ...] = (
    mirror,
    lambda grid: grid[::-1],
    lambda grid: tuple(zip(*grid, strict=True)),
)
_SYMMETRIES: tuple[Callable[[Grid], Grid], ...] = (
    lambda grid: tuple(row + row[::-1] for row in grid),
    lambda grid: grid + grid[::-1],
)


def invent(rng: random.Random, family: str, side: int, train: int, test: int) -> Puzzle:
    """A puzzle of a family.

    Args:
        rng: Source of randomness.
        family: One of ``FAMILIES``.
        side: Longest side of an input and of an output, 3 to ``LARGEST`` (a symmetric output has
            at least 4).
        train: Demonstrations.
        test: Inputs to solve; none is a demonstration.
    """
    palette = rng.sample(range(1, 10), COLOURS)
    draw: Callable[[], Grid] = lambda: _coloured(rng, palette, side)  # noqa: E731
    match family:
        case "rotation":
            rule = _turn(rng.choice((1, 2, 3)))
        case "flip":
            rule = rng.choice(_FLIPS)
        case "recolouring":
            shift = rng.randrange(1, COLOURS)
            ring = dict(zip(palette, palette[shift:] + palette[:shift], strict=True))
            rule = lambda grid: tuple(tuple(ring[c] for c in row) for row in grid)  # noqa: E731
        case "counting":
            colour = palette[0]
            draw = lambda: _scattered(rng, palette, side)  # noqa: E731
            rule = lambda grid: ((colour,) * sum(r.count(colour) for r in grid),)  # noqa: E731
        case "symmetry":
            rule = rng.choice(_SYMMETRIES)
            draw = lambda: _coloured(rng, palette, max(2, side // 2))  # noqa: E731
        case _:
            raise ValueError(f"family {family!r} is none of {', '.join(FAMILIES)}")
    pairs: dict[Grid, Grid] = {}
    while len(pairs) < train + test:
        grid = draw()
        pairs[grid] = rule(grid)
    shown = tuple(pairs.items())
    return Puzzle(family, shown[:train], shown[train:])


def _coloured(rng: random.Random, palette: list[int], side: int) -> Grid:
    """A grid without background, with every colour, unlike itself turned or mirrored."""
    least = max(2, side - 2)
    while True:
        rows, columns = rng.randint(least, side), rng.randint(least, side)
        cells = [rng.choice(palette) for _ in range(rows * columns)]
        grid = tuple(tuple(cells[r * columns : (r + 1) * columns]) for r in range(rows))
        turned = {_turn(n)(g) for n in range(4) for g in (grid, mirror(grid))}
        if len(turned) == 8 and set(cells) == set(palette):
            return grid


def _scattered(rng: random.Random, palette: list[int], side: int) -> Grid:
    """Colours on background; one to ``side`` cells have the first colour of the palette."""
    cells = [0] * (side * side)
    counted = rng.randint(1, min(side, len(cells) - 2))
    others = rng.randint(1, max(1, min(side, len(cells) - counted - 1)))
    colours = [palette[0]] * counted + [rng.choice(palette[1:]) for _ in range(others)]
    for place, colour in zip(rng.sample(range(len(cells)), len(colours)), colours, strict=True):
        cells[place] = colour
    return tuple(tuple(cells[r * side : (r + 1) * side]) for r in range(side))

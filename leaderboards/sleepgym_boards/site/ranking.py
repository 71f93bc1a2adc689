"""Ranks as intervals: methods that the streams cannot tell apart share a rank."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import product

import numpy as np

from sleepgym.core.errors import SleepGymError
from sleepgym.scoring.statistics import FEWEST_FOR_BOOTSTRAP
from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.resampling import surely_higher
from sleepgym_boards.verification.verdict import Results

Rank = tuple[int, int]


def rank_intervals(
    board: Board, results: Sequence[Results], marks: Sequence[str] | None = None
) -> list[Rank | None]:
    """The best and the worst rank that each method may hold within its mark and budget class.

    The best is one more than the methods that are significantly better (the 95% interval of the
    paired difference over streams excludes 0), the worst leaves below it only those that are
    significantly worse. No correction for the number of pairs.

    Args:
        board: The board.
        results: Of each method.
        marks: Of each method; None where they have one and the same.

    Returns:
        A rank a method; None where its headline is undefined on some stream.

    Raises:
        SleepGymError: If two methods were run on different streams, or on fewer than five.
    """
    ranks: list[Rank | None] = [None] * len(results)
    marks = marks or [""] * len(results)
    for mark, budget in product(dict.fromkeys(marks), board.budgets):
        places = [
            place
            for place, result in enumerate(results)
            if marks[place] == mark
            and result.budget_class == budget.name
            and None not in _headline(board, result)
        ]
        if places:
            better = surely_higher(_values(board, [results[place] for place in places]))
            highest = 1 + better.sum(axis=0)
            lowest = len(places) - better.sum(axis=1)
            for place, low, high in zip(places, highest, lowest, strict=True):
                ranks[place] = (int(low), int(high))
    return ranks


def class_order(board: Board, results: Sequence[Results]) -> list[str]:
    """The budget classes of a board, the one with the best headline first, empty ones last."""
    sign = 1 if higher_is_better(board.headline) else -1

    def best(name: str) -> float:
        values = [r.mean.get(board.headline) for r in results if r.budget_class == name]
        return max((sign * v for v in values if v is not None), default=-math.inf)

    return sorted((budget.name for budget in board.budgets), key=best, reverse=True)


def order(board: Board, result: Results, rank: Rank | None, classes: Sequence[str]) -> tuple:
    """A sort key: place of its class, rank, then the board's tie-breaks, then the headline."""
    values = [result.mean.get(name) for name in (*board.tie_breaks, board.headline)]
    signs = [-1 if higher_is_better(name) else 1 for name in (*board.tie_breaks, board.headline)]
    return (
        [*classes].index(result.budget_class) if result.budget_class in classes else len(classes),
        rank or (sys.maxsize, 0),
        [(value is None, sign * (value or 0.0)) for sign, value in zip(signs, values, strict=True)],
    )


def _headline(board: Board, result: Results) -> list[float | None]:
    return [seed.metrics.get(board.headline) for seed in result.seeds]


def _values(board: Board, results: Sequence[Results]) -> np.ndarray:
    seeds = {tuple(seed.seed for seed in result.seeds) for result in results}
    if len(seeds) > 1:
        raise SleepGymError(f"board {board.name}: its submissions are of different seeds")
    if len(next(iter(seeds))) < FEWEST_FOR_BOOTSTRAP:
        raise SleepGymError(f"board {board.name}: ranks need {FEWEST_FOR_BOOTSTRAP} seeds or more")
    values = np.array([_headline(board, result) for result in results], dtype=float)
    return values if higher_is_better(board.headline) else -values

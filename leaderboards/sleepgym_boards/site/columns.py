"""Columns of a board's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.methods import Method

_LEARNING = {
    "backward_transfer": "BWT",
    "forgetting_max": "max forget\N{SOFT HYPHEN}ting",
    "consolidation": "consoli\N{SOFT HYPHEN}dation",
    "base_retention": "base reten\N{SOFT HYPHEN}tion",
    "gain": "gain",
}
_NIGHT = {
    "night_seconds": "seconds",
    "night_flops": "FLOPs",
    "added_parameters": "para\N{SOFT HYPHEN}meters",
}
_STATE = {
    "state_bytes": "all",
    "state_weights_bytes": "weights",
    "state_keys_bytes": "keys",
    "state_text_bytes": "text",
}


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        metric: Full name of the metric.
        heading: Short name.
        higher: Whether more is better.
    """

    metric: str
    heading: str
    higher: bool


@dataclass(frozen=True)
class Group:
    """Columns under one heading."""

    heading: str
    columns: tuple[Column, ...]


def column_groups(board: Board, methods: Sequence[Method]) -> list[Group]:
    """The columns after the headline; one that no method of the board defines is left out."""
    groups = []
    for heading, names in (
        ("transfer and retention", _LEARNING),
        ("cost of a night", _NIGHT),
        ("saved state, bytes", _STATE),
    ):
        columns = tuple(
            Column(metric, short, higher_is_better(metric))
            for metric, short in names.items()
            if metric != board.headline
            and any(m.results and m.results.mean.get(metric) is not None for m in methods)
        )
        if columns:
            groups.append(Group(heading, columns))
    return groups


def main_metrics(board: Board) -> list[str]:
    """The metrics to look at first."""
    first = [board.headline, "evening_accuracy", "morning_accuracy", *_LEARNING]
    return list(dict.fromkeys([*first, *board.tie_breaks, "night_seconds", "night_flops", *_STATE]))

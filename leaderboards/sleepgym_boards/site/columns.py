"""Columns of a board's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.formatting import words
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
_STATE = {"state_bytes": "all"}
_STATE_KINDS = {
    "state_weights_bytes": "weights",
    "state_keys_bytes": "keys",
    "state_text_bytes": "text",
}
_PREFIXED = ("state, bytes", "of which, bytes")
CARDS = "(max-width: 73.9rem)"  # where rows stand as cards, as in the style sheet


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
    """Columns under one heading.

    Attributes:
        heading: The heading.
        columns: At least one.
        wide: Whether they are shown where there is room only, as a table and not as cards.
    """

    heading: str
    columns: tuple[Column, ...]
    wide: bool = False


def column_groups(board: Board, methods: Sequence[Method]) -> list[Group]:
    """The columns after the headline; one that no method of the board defines is left out."""
    groups = []
    for heading, names in (
        ("transfer and retention", _LEARNING),
        ("cost of a night", _NIGHT),
        ("state, bytes", _STATE),
        ("of which, bytes", _STATE_KINDS),
    ):
        columns = tuple(
            Column(metric, short, higher_is_better(metric))
            for metric, short in names.items()
            if metric != board.headline
            and any(m.results and m.results.mean.get(metric) is not None for m in methods)
        )
        if columns:
            groups.append(Group(heading, columns, wide=names is _STATE_KINDS))
    return groups


def main_metrics(board: Board) -> list[str]:
    """The metrics to look at first."""
    first = [board.headline, "evening_accuracy", "morning_accuracy", *_LEARNING]
    return list(
        dict.fromkeys(
            [*first, *board.tie_breaks, "night_seconds", "night_flops", *_STATE, *_STATE_KINDS]
        )
    )


def labels(board: Board, groups: Sequence[Group]) -> str:
    """A style sheet that names the cells of a board's rows where they stand as cards.

    The names follow from a cell's place, so that no row has to repeat them.
    """
    names = ["", "mark, rank", "", *(["class"] if len(board.budgets) > 1 else [])]
    names.append(words(board.headline))
    for group in groups:
        of = "state: " if group.heading in _PREFIXED else ""
        names += [of + column.heading.replace("\N{SOFT HYPHEN}", "") for column in group.columns]
    names += ["model", "size", "isolation", "date"]
    rules = [
        f"#methods tbody tr:not(.group) > :nth-child({place})::before {{ content: {name!r}; }}\n"
        for place, name in enumerate(names, start=1)
        if name
    ]
    return f"@media {CARDS} {{\n{''.join(rules)}}}\n"

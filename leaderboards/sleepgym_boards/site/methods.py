"""What stands on a board: its submissions in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sleepgym_boards.board import Board, model_parameters
from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.catalogue.replays import mark_replays
from sleepgym_boards.site.ranking import Rank, class_order, order, rank_intervals
from sleepgym_boards.site.upgrading import with_names_of_today
from sleepgym_boards.verification.verdict import MARKS, Header, Mark, Results

SLOTS = 8
_CHOSEN_AT_FIRST = 6


@dataclass(frozen=True)
class Method:
    """A submission on a board.

    Attributes:
        place: Its place in the table, from 0.
        slug: Name of its files.
        name: Name of the method, written by the submitter; the slug where that cannot be read.
        file: The submission.
        entry: Its entry.
        results: Its numbers; None where they may not be shown.
        rank: Best and worst rank within its mark and budget class.
        standing: Why there are no numbers; empty where there are.
        slot: Its place among the methods that pictures show at first; None where they do not.
    """

    place: int
    slug: str
    name: str
    file: Path
    entry: Entry
    results: Results | None
    rank: Rank | None
    standing: str
    slot: int | None = None

    @cached_property
    def header(self) -> Header | None:
        """The parts of the submission that pages show, its settings by their names of today."""
        header = self.entry.verdict.header if self.entry.verdict else None
        return with_names_of_today(header) if header else None

    @property
    def group(self) -> str:
        """The heading it stands under: its mark and its budget class."""
        if self.results is None:
            return "no numbers"
        return f"{_mark(self.entry).name}, class {self.results.budget_class}"

    @property
    def model(self) -> str | None:
        """The base model's name."""
        return self.header.model if self.header else None

    @property
    def model_parameters(self) -> int | None:
        """How many parameters the base model has, where the boards know it."""
        return model_parameters(self.model) if self.model else None

    @property
    def mark(self) -> Mark | None:
        """How much is known of it; None where it has no numbers."""
        return _mark(self.entry) if self.results else None


def order_methods(board: Board, entries: Sequence[Entry]) -> list[Method]:
    """The methods of a board: the strongest mark first, then the best class and its best first.

    Those without numbers are last; among them those whose runs stand there under another name.

    Raises:
        SleepGymError: If two methods' streams differ.
    """
    entries = mark_replays([entry for entry in entries if not entry.problem])
    states = [_standing(board, entry) for entry in entries]
    shown = [entry for entry, state in zip(entries, states, strict=True) if not state]
    results = [entry.verdict.results for entry in shown if entry.verdict and entry.verdict.results]
    marks = [_mark(entry).name for entry in shown]
    classes = class_order(board, results)
    ranked = sorted(
        zip(shown, results, rank_intervals(board, results, marks), strict=True),
        key=lambda row: (*order(board, row[1], row[2], classes), row[0].slug),
    )
    ranked.sort(key=lambda row: MARKS.index(_mark(row[0]).name))
    slots = _slots(board, [result for _, result, _ in ranked])
    first = [
        Method(
            place=place,
            slug=entry.slug,
            name=_name(entry),
            file=entry.file,
            entry=entry,
            results=result,
            rank=rank,
            standing="",
            slot=slots.get(place),
        )
        for place, (entry, result, rank) in enumerate(ranked)
    ]
    others = [(entry, state) for entry, state in zip(entries, states, strict=True) if state]
    return first + [
        Method(place, entry.slug, _name(entry), entry.file, entry, None, None, state)
        for place, (entry, state) in enumerate(others, start=len(first))
    ]


def _slots(board: Board, results: Sequence[Results]) -> dict[int, int]:
    """Place -> slot of the first methods of each class, as many of one as of another."""
    each = max(1, _CHOSEN_AT_FIRST // len(board.budgets))
    chosen = [
        place
        for budget in board.budgets
        for place in [p for p, r in enumerate(results) if r.budget_class == budget.name][:each]
    ]
    return {place: slot for slot, place in enumerate(chosen[:SLOTS])}


def _standing(board: Board, entry: Entry) -> str:
    verdict = entry.verdict
    if verdict is None:
        return "not verified yet"
    broken = [rule.rule for rule in verdict.rules if rule.ok is False]
    if broken:
        return f"refused by rule {', '.join(broken)}"
    if verdict.header is not None and verdict.header.board_version != board.version:
        return f"run on version {verdict.header.board_version} of this board"
    if not entry.verified or verdict.results is None:
        return "changed since it was verified"
    if not _fits(board, verdict.results):
        return "its verdict is not of this board: it must be made again"
    return ""


def _mark(entry: Entry) -> Mark:
    """Its mark; a verdict of before there were any says no more than that it was recomputed."""
    mark = entry.verdict.mark if entry.verdict else None
    return mark or Mark(name="recomputed")


def _fits(board: Board, results: Results) -> bool:
    """Whether the pages of a board can show some numbers."""
    seeds = tuple(seed.seed for seed in results.seeds)
    sizes = {len(seed.matrix) for seed in results.seeds} | {len(results.matrix)}
    tables = [results.mean, *(seed.metrics for seed in results.seeds)]
    rows = [*results.matrix, *(row for seed in results.seeds for row in seed.matrix)]
    return (
        seeds == (board.public_seeds() or seeds)
        and results.budget_class in [budget.name for budget in board.budgets]
        and all(board.headline in table for table in tables)
        and board.headline in results.interval
        and len(sizes) == 1
        and all({len(row)} == sizes for row in rows)
    )


def _name(entry: Entry) -> str:
    header = entry.verdict.header if entry.verdict else None
    return header.card.name if header else entry.slug

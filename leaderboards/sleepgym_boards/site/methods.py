"""What stands on a board: its submissions in the order of the table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.board import Board
from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.site.ranking import Rank, class_order, order, rank_intervals
from sleepgym_boards.verification.verdict import Header, Results

SLOTS = 8
_CHOSEN_AT_FIRST = 6
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
        rank: Best and worst rank within its budget class.
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

    @property
    def header(self) -> Header | None:
        """The parts of the submission that pages show."""
        return self.entry.verdict.header if self.entry.verdict else None

    @property
    def rerun(self) -> bool:
        """Whether nights were lived again to verify it."""
        rules = self.entry.verdict.rules if self.entry.verdict else []
        return self.results is not None and any(rule.rule == "rerun" for rule in rules)


def order_methods(board: Board, entries: Sequence[Entry]) -> list[Method]:
    """The methods of a board, the best class and its best first, those without numbers last.

    Raises:
        SleepGymError: If a file's name does not make an address, or two methods' streams differ.
    """
    for entry in entries:
        if not _SLUG.fullmatch(entry.slug):
            raise SleepGymError(
                f"submission {entry.file.name!r} of board {board.name}: its name must begin with a "
                "letter or digit and hold letters, digits, '.', '_' and '-' only"
            )
    states = [_standing(board, entry) for entry in entries]
    shown = [entry for entry, state in zip(entries, states, strict=True) if not state]
    results = [entry.verdict.results for entry in shown if entry.verdict and entry.verdict.results]
    classes = class_order(board, results)
    ranked = sorted(
        zip(shown, results, rank_intervals(board, results), strict=True),
        key=lambda row: (*order(board, row[1], row[2], classes), row[0].slug),
    )
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
    return ""


def _name(entry: Entry) -> str:
    header = entry.verdict.header if entry.verdict else None
    return header.card.name if header else entry.slug

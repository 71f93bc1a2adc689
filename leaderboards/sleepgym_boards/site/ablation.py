"""Seeding or dreaming: what each stage of sleep adds to the other, and what each part is worth."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from sleepgym.scoring.statistics import Difference, paired_difference
from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.drawing.scales import Scale, linear
from sleepgym_boards.site.methods import Method

BOARDS = ("ablation-v1", "ablation")  # the newest first
WHOLE = "sleep"
STAGES = ("seeding", "dreaming")
ROLES = (WHOLE, *STAGES)
PICTURE_WIDTH = 400


@dataclass(frozen=True)
class Variant:
    """A row of the picture.

    Attributes:
        method: The method.
        values: Headline by stream.
        difference: Its paired difference to the whole; None for the whole itself.
        changed: Settings in which it differs from the whole, where it is the same agent.
    """

    method: Method
    values: tuple[float, ...]
    difference: Difference | None
    changed: str

    @property
    def significant(self) -> bool:
        """Whether the difference's interval excludes 0."""
        return self.difference is not None and _sign(self.difference) != 0


@dataclass(frozen=True)
class Ablation:
    """The page.

    Attributes:
        answer: One line.
        adds: Stage -> what the whole gains by having it, as far as the other stage is there alone.
        groups: Heading -> rows.
        scale: Axis of the picture.
        reference: The whole's mean headline; None until it is there.
        missing: The submissions that the answer still needs.
        left_out: Submissions without numbers, which are no rows.
    """

    answer: str
    adds: dict[str, Difference]
    groups: dict[str, list[Variant]]
    scale: Scale
    reference: float | None
    missing: list[str]
    left_out: list[Method]


def ablate(board: Board, methods: Sequence[Method]) -> Ablation:
    """The ablation from the submissions of its board.

    The whole and the two stages alone are the files whose hashes the board names as its ``roles``:
    no name that a submitter chose plays one. Every other submission is a row below them.
    """
    ranked = [method for method in methods if method.results and method.rank]
    found = {role: method for role in ROLES if (method := _find(board, role, ranked))}
    whole = found.get(WHOLE)
    adds = {
        stage: _difference(board, whole, found[other])
        for stage, other in zip(STAGES, reversed(STAGES), strict=True)
        if whole and other in found
    }
    sign = -1 if higher_is_better(board.headline) else 1
    others = sorted(
        (method for method in ranked if method not in found.values()),
        key=lambda method: sign * (_mean(board, method) or 0.0),
    )
    rows = {
        "both stages": [whole] if whole else [],
        "one stage alone": [found[stage] for stage in STAGES if stage in found],
        "parts and controls": others,
    }
    groups = {
        heading: [_variant(board, method, whole) for method in group]
        for heading, group in rows.items()
        if group
    }
    return Ablation(
        answer=_answer(adds, higher_is_better(board.headline)),
        adds=adds,
        groups=groups,
        scale=linear(0, 1, 8, PICTURE_WIDTH - 8, 0.2),
        reference=_mean(board, whole) if whole else None,
        missing=[role for role in ROLES if role not in found],
        left_out=[method for method in methods if method not in ranked],
    )


def _find(board: Board, role: str, methods: Sequence[Method]) -> Method | None:
    """The method of a role, by the hash of its file."""
    digest = board.roles.get(role)
    return next((m for m in methods if digest and m.entry.sha256 == digest), None)


def _answer(adds: dict[str, Difference], higher: bool) -> str:
    if len(adds) < len(STAGES):
        return "Not answered yet."
    gains = [stage for stage, d in adds.items() if _sign(d) == (1 if higher else -1)]
    if len(gains) == 2:
        return "Both: each stage adds to the other."
    if gains:
        (other,) = set(STAGES) - set(gains)
        harms = _sign(adds[other]) == (-1 if higher else 1)
        tail = "takes something away" if harms else "adds nothing that these streams can show"
        return f"{gains[0].capitalize()}: {other} on top of it {tail}."
    return "Undecided: neither stage adds to the other what these streams can show."


def _variant(board: Board, method: Method, whole: Method | None) -> Variant:
    return Variant(
        method=method,
        values=tuple(_by_seed(board, method).values()),
        difference=None if whole in (None, method) else _difference(board, method, whole),
        changed=_changed(method, whole) if whole and whole is not method else "",
    )


def _changed(method: Method, whole: Method) -> str:
    mine, theirs = method.header, whole.header
    if mine is None or theirs is None or mine.agent != theirs.agent:
        return f"agent {mine.agent}" if mine else ""
    return ", ".join(
        f"{name}={json.dumps(value)}"
        for name, value in mine.settings.items()
        if theirs.settings.get(name) != value
    )


def _difference(board: Board, a: Method, b: Method) -> Difference:
    return paired_difference(_by_seed(board, a), _by_seed(board, b))


def _sign(difference: Difference) -> int:
    """1 or -1 where the interval lies on one side of 0; else 0."""
    interval = difference.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return 0
    return 1 if interval.low > 0 else -1


def _by_seed(board: Board, method: Method) -> dict[Hashable, float]:
    assert method.results
    values = {seed.seed: seed.metrics.get(board.headline) for seed in method.results.seeds}
    return {seed: value for seed, value in values.items() if value is not None}


def _mean(board: Board, method: Method) -> float | None:
    return method.results.mean.get(board.headline) if method.results else None

"""Seeding or dreaming: what each stage of sleep adds to the other, and what each part is worth."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from sleepgym.scoring.statistics import Difference, paired_difference
from sleepgym_boards.board import Board, higher_is_better
from sleepgym_boards.site.drawing.scales import Scale, linear
from sleepgym_boards.site.methods import Method

BOARDS = ("ablation-v1", "ablation")  # the newest first
WHOLE = "sleep"
STAGES = ("seeding", "dreaming")
ROLES = (WHOLE, *STAGES)
KINDS = "accuracy_"  # begins a metric of one kind of question
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
class Kind:
    """One kind of question: both stages, and what each adds to the other.

    Attributes:
        metric: Name of its metric.
        mean: Of the whole.
        adds: Stage -> what the whole gains by having it, on streams where both sides were asked.
    """

    metric: str
    mean: float | None
    adds: dict[str, Difference]

    def significant(self, stage: str) -> bool:
        """Whether the interval of what a stage adds excludes 0."""
        return stage in self.adds and _sign(self.adds[stage]) != 0


@dataclass(frozen=True)
class Ablation:
    """The page.

    Attributes:
        answer: One line.
        adds: Stage -> what the whole gains by having it, as far as the other stage is there alone.
        kinds: The same by kind of question.
        groups: Heading -> rows.
        scale: Axis of the picture.
        reference: The whole's mean headline; None until it is there.
        missing: The submissions that the answer still needs.
        left_out: Submissions without numbers, which are no rows.
    """

    answer: str
    adds: dict[str, Difference]
    kinds: list[Kind]
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
    adds = _adds(board.headline, found)
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
        kinds=_kinds(found) if len(adds) == len(STAGES) else [],
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


def _adds(metric: str, found: Mapping[str, Method]) -> dict[str, Difference]:
    """What the whole gains by each stage, as far as the other is there alone."""
    adds: dict[str, Difference] = {}
    for stage, other in zip(STAGES, reversed(STAGES), strict=True):
        if WHOLE in found and other in found:
            sides = [_by_seed(metric, found[role]) for role in (WHOLE, other)]
            shared = sides[0].keys() & sides[1].keys()
            if shared:
                adds[stage] = paired_difference(*({s: own[s] for s in shared} for own in sides))
    return adds


def _kinds(found: Mapping[str, Method]) -> list[Kind]:
    """The kinds of questions that the whole was asked, in the order of their names."""
    results = found[WHOLE].results
    assert results
    metrics = sorted(name for name in results.mean if name.startswith(KINDS))
    return [Kind(name, results.mean[name], _adds(name, found)) for name in metrics]


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
        values=tuple(_by_seed(board.headline, method).values()),
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
    return paired_difference(_by_seed(board.headline, a), _by_seed(board.headline, b))


def _sign(difference: Difference) -> int:
    """1 or -1 where the interval lies on one side of 0; else 0."""
    interval = difference.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return 0
    return 1 if interval.low > 0 else -1


def _by_seed(metric: str, method: Method) -> dict[Hashable, float]:
    assert method.results
    values = {seed.seed: seed.metrics.get(metric) for seed in method.results.seeds}
    return {seed: value for seed, value in values.items() if value is not None}


def _mean(board: Board, method: Method) -> float | None:
    return method.results.mean.get(board.headline) if method.results else None

"""Every number of a submission, recomputed; and the rules that rest on numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv
from sleepgym.runs.records import RunRecord
from sleepgym.runs.state import KINDS
from sleepgym.scoring.metrics import Matrix, accuracy_by_age, retention_curve
from sleepgym.scoring.scores import accuracy_matrix, aggregate, score_run
from sleepgym_boards.board import Board, BudgetClass
from sleepgym_boards.submission.schema import Ledger, PhaseRecord, Run
from sleepgym_boards.verification.verdict import NightResult, Results, Row, SeedResult

_COSTS = ("seconds", *Meter.FIELDS)


@dataclass(frozen=True)
class Graded:
    """A run whose coverage and grades were checked.

    Attributes:
        run: The run.
        record: The same as :func:`sleepgym.runs.records.read_run` would give it.
        matrix: Its accuracy matrix.
    """

    run: Run
    record: RunRecord
    matrix: Matrix

    @property
    def nights(self) -> list[tuple[PhaseRecord, Ledger]]:
        """Each night with what was kept."""
        return [(p, p.ledger) for p in self.run.phases if p.ledger is not None]


def graded(run: Run, env: ContinualEnv) -> Graded:
    """A checked run as a record: everything but answers and costs comes from the rebuilt stream."""
    assert env.stream is not None
    answers, phases, nights = [], [], []
    for index, (step, phase) in enumerate(zip(env.steps, run.phases, strict=True)):
        where = {"step": index, "phase": step.name, "day": step.day, "night": step.night}
        cost = {name: getattr(phase, name) for name in _COSTS}
        phases.append(where | cost | {"questions": len(step.items), "missing": 0})
        answers += [
            where
            | {"id": item.id, "item_day": item.day, "kind": item.kind}
            | {"prompt": answer.prompt, "answer": answer.text, "score": answer.score}
            for item, answer in zip(step.items, phase.answers, strict=True)
        ]
        if phase.ledger is not None:
            kept = phase.ledger.model_dump()
            nights.append({"night": step.day, "exceeded": []} | cost | kept)
    meta: dict[str, Any] = {
        "days": len(env.stream.days),
        "steps": len(env.steps),
        "stream_hash": env.stream.content_hash,
    }
    record = RunRecord(Path(f"seed-{run.seed}"), meta, answers, nights, phases)
    return Graded(run, record, accuracy_matrix(record))


def check_unseen(runs: Sequence[Graded], board: Board) -> list[str]:
    """Rule ``unseen``: mean accuracy at birth and on the morning before a day was taught."""
    if board.unseen_ceiling is None:
        return []
    cells = [np.r_[g.matrix[0, 1:], np.diagonal(g.matrix, 1)[1:]] for g in runs]
    mean = float(np.nanmean(np.concatenate(cells)))
    if mean <= board.unseen_ceiling:
        return []
    return [
        f"{mean:.2f} of the questions on days not yet taught are right, "
        f"where no more than {board.unseen_ceiling:g} can be known"
    ]


def check_budget(runs: Sequence[Graded], board: Board) -> tuple[BudgetClass | None, list[str]]:
    """Rule ``budget``: the first class that every run keeps to, or what each class lacks."""
    problems = []
    for budget in board.budgets:
        broken = [f"seed {g.run.seed}: {line}" for g in runs for line in _exceeded(g, budget)]
        if not broken:
            return budget, []
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        problems.append(f"class {budget.name}: {broken[0]}{more}")
    return None, problems


def _exceeded(graded: Graded, budget: BudgetClass) -> Iterable[str]:
    nights = graded.nights
    days = len(nights)
    for name, limit in (("seconds", budget.night_seconds), ("flops", budget.night_flops)):
        worst = max(_of_night(phase, ledger, name) for phase, ledger in nights)
        if limit is not None and worst > limit:
            yield f"a night of {worst:.4g} {name}, at most {limit:.4g}"
    daily = {"added_parameters": budget.added_parameters}
    daily |= {f"state_{kind}_bytes": getattr(budget.state_bytes, kind) for kind in KINDS}
    for name, limit in daily.items():
        worst = max(getattr(ledger, name) for _, ledger in nights) / days
        if limit is not None and worst > limit:
            yield f"{name} of {worst:,.0f} a day, at most {limit:,.0f}"


def _of_night(phase: PhaseRecord, ledger: Ledger, name: str) -> float:
    """Seconds or operations of all that the night's instance did: being told, sleeping, saving."""
    beside = {
        "seconds": (phase.setup_seconds, ledger.saving_seconds),
        "flops": (ledger.setup_flops,),
    }
    return float(getattr(phase, name)) + sum(part or 0.0 for part in beside[name])


def results(runs: Sequence[Graded], budget: BudgetClass) -> Results:
    """Every metric, by seed and over seeds."""
    scores = [score_run(g.record) for g in runs]
    group = aggregate(scores)
    return Results(
        budget_class=budget.name,
        seeds=[
            SeedResult(seed=g.run.seed, metrics=metrics, matrix=_rows(g.matrix))
            for g, metrics in zip(runs, scores, strict=True)
        ],
        mean=group["mean"],
        iqm=group["iqm"],
        interval=group["interval"],
        n=group["n"],
        matrix=_rows(_mean([g.matrix for g in runs])),
        retention_curve=_row(_mean([retention_curve(g.matrix) for g in runs])),
        accuracy_by_age=_row(_mean([accuracy_by_age(g.matrix) for g in runs])),
        nights=[_night(runs, index) for index in range(len(runs[0].nights))],
    )


def _night(runs: Sequence[Graded], index: int) -> NightResult:
    phases = [g.nights[index][0] for g in runs]
    ledgers = [g.nights[index][1] for g in runs]
    day = index + 1
    asked = {
        when: [
            line["score"]
            for g in runs
            for line in g.record.answers
            if line["phase"] == when and line["item_day"] == line["day"] == day
        ]
        for when in ("evening", "morning")
    }
    costs = ("seconds", "train_tokens", "generated_tokens", "flops")
    kept = ("added_parameters", "state_bytes", *(f"state_{kind}_bytes" for kind in KINDS))
    return NightResult(
        night=day,
        evening=float(np.mean(asked["evening"])) if asked["evening"] else None,
        morning=float(np.mean(asked["morning"])) if asked["morning"] else None,
        **{name: float(np.mean([getattr(p, name) for p in phases])) for name in costs},
        **{name: float(np.mean([getattr(k, name) for k in ledgers])) for name in kept},
    )


def _mean(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over runs of what is known; NaN where nothing is."""
    stack = np.stack(arrays)
    count = (~np.isnan(stack)).sum(axis=0)
    total = np.nansum(stack, axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _rows(matrix: NDArray[np.float64]) -> list[Row]:
    return [_row(row) for row in matrix]


def _row(values: NDArray[np.float64]) -> Row:
    return [None if np.isnan(value) else float(value) for value in values]

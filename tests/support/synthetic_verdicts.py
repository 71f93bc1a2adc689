"""Verdicts made of invented numbers, and submissions without content beside them."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sleepgym.scoring import metrics
from sleepgym.scoring.scores import aggregate
from sleepgym_boards.board import Board, load_board
from sleepgym_boards.submission.schema import MethodCard
from sleepgym_boards.verification.rules import OTHERS, RERUN, RULES
from sleepgym_boards.verification.verdict import (
    Header,
    NightResult,
    Reruns,
    Results,
    RuleVerdict,
    SeedResult,
    Verdict,
)
from sleepgym_boards.verification.verifier import derive_mark

_OF_THE_MATRIX = (
    "average_accuracy",
    "anytime_accuracy",
    "learning_accuracy",
    "backward_transfer",
    "forward_transfer",
    "forgetting_first_last",
    "forgetting_max",
    "retention",
    "base_retention",
)
HOSTILE = (
    '<img src="https://example.org/x.png" onerror="alert(1)"><script>alert(2)</script>{{ 7*7 }}'
)


def write_submission(
    folder: Path,
    slug: str,
    verdict: Verdict | None,
    board: str = "almanac-8-v1",
) -> Path:
    """A file without content, and the verdict on it with its hash."""
    file = folder / board / f"{slug}.json.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(slug.encode(), mtime=0))
    if verdict is not None:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        text = verdict.model_copy(update={"sha256": digest}).model_dump_json()
        file.with_name(f"{slug}.verdict.json").write_text(text)
    return file


def copy_submission(folder: Path, board: str, slug: str) -> Path:
    """A submission of this repository with its verdict: one that has content."""
    source = Path(__file__).parents[2] / "leaderboards" / "submissions" / board
    (folder / board).mkdir(parents=True, exist_ok=True)
    for suffix in (".json.gz", ".verdict.json"):
        shutil.copy(source / f"{slug}{suffix}", folder / board)
    return folder / board / f"{slug}.json.gz"


def make_verdict(
    name: str = "Example",
    board: Board | str = "almanac-8-v1",
    skill: float = 0.6,
    decay: float = 0.95,
    cost: float = 1.0,
    seed: int = 0,
    budget: int = 0,
    broken: str = "",
    rerun: bool = False,
    sealed: bool = False,
    **header: Any,
) -> Verdict:
    """A verdict whose numbers agree with each other.

    Args:
        name: Of the method.
        board: The board.
        skill: Accuracy on a day on its own morning, before noise.
        decay: What a night leaves of it.
        cost: Factor on every cost.
        seed: Of the noise.
        budget: Place of the budget class.
        broken: A rule that does not hold; then there are no numbers.
        rerun: Whether nights were executed again.
        sealed: Whether the streams were drawn after the code was fixed.
        **header: Fields of the card or the header, in place of harmless ones.
    """
    board = load_board(board) if isinstance(board, str) else board
    rules = [
        RuleVerdict(rule=rule, ok=rule != broken, problems=["is wrong"] * (rule == broken))
        for rule in RULES
        if rule not in OTHERS and (rerun or rule not in RERUN)
    ]
    reruns = Reruns(pairs=4, of=40, isolation="sandbox") if rerun else None
    mark = None if broken else derive_mark(sealed, reruns)
    results = None if broken else _results(board, skill, decay, cost, seed, budget)
    return Verdict(
        sha256="", rules=rules, mark=mark, header=_header(name, board, header), results=results
    )


def _header(name: str, board: Board, changes: dict[str, Any]) -> Header:
    card = {
        "name": name,
        "summary": "Keeps what it can.",
        "authors": ["A. Sleeper", "B. Dreamer"],
        "code": "https://example.org/code",
        "commit": "0123abc",
        "data": "none",
        "pretraining": "none",
        "tuning_seeds": "0-99",
        "departures": "none",
    }
    card |= {key: changes.pop(key) for key in list(changes) if key in card}
    seeds = board.public_seeds() or ()
    rest = {
        "date": "2026-11-23",
        "agent": "sleep",
        "settings": {"steps": 20, "rehearsal": True},
        "model": "embedded" if board.base_model else "example/model-1b",
        "platform": {"python": "3.12.0", "machine": "x86_64"},
        "packages": {"sleepgym": "0.1.0", "torch": "2.13.0"},
        "commands": {s: f"sleepgym run --env {board.environment.id} --seed {s}" for s in seeds},
    } | changes
    return Header(
        board=board.name,
        board_version=rest.pop("board_version", board.version),
        card=MethodCard.model_construct(**card),
        **rest,
    )


def _results(
    board: Board, skill: float, decay: float, cost: float, noise: int, budget: int
) -> Results:
    rng = np.random.default_rng(noise)
    days = int(board.environment.settings["days"])
    seeds, matrices = [], []
    for seed in board.public_seeds() or ():
        level = skill + 0.1 * np.sin(seed) * skill * (1 - skill) + rng.normal(0, 0.02)
        matrix = _matrix(rng, days, level, decay, board.environment.exams == "spaced")
        matrices.append(matrix)
        seeds.append(
            SeedResult(seed=seed, metrics=_metrics(matrix, cost, days), matrix=_rows(matrix))
        )
    group = aggregate([seed.metrics for seed in seeds])
    middle = np.mean(matrices, axis=0)
    evening = min(1.0, skill + 0.2)
    return Results(
        budget_class=board.budgets[budget].name,
        seeds=seeds,
        mean=group["mean"],
        iqm=group["iqm"],
        interval=group["interval"],
        n=group["n"],
        matrix=_rows(middle),
        retention_curve=_rows([metrics.retention_curve(middle)])[0],
        accuracy_by_age=_rows([metrics.accuracy_by_age(middle)])[0],
        nights=[_night(n, evening, float(middle[n, n]), cost) for n in range(1, days + 1)],
    )


def _matrix(rng: np.random.Generator, days: int, skill: float, decay: float, spaced: bool):
    matrix = np.full((days + 1, days + 1), np.nan)
    for night in range(days + 1):
        matrix[night, 0] = 0.9 * decay ** (night / 4)
        for day in range(1, days + 1):
            age = night - day
            asked = (
                not spaced or night in (0, days) or age == -1 or (age >= 0 and age & (age - 1) == 0)
            )
            if asked:
                value = skill * decay**age if age >= 0 else 0.02
                matrix[night, day] = np.clip(value + rng.normal(0, 0.02), 0, 1)
    return matrix


def _metrics(a: np.ndarray, cost: float, days: int) -> dict[str, float | None]:
    evening = min(1.0, (metrics.learning_accuracy(a) or 0.0) + 0.2)
    morning = metrics.learning_accuracy(a)
    weights, keys, text = (int(cost * size * days) for size in (60_000, 2_000, 12))
    return {
        **{name: getattr(metrics, name)(a) for name in _OF_THE_MATRIX},
        "half_life": metrics.half_life(metrics.retention_curve(a)),
        "evening_accuracy": evening,
        "morning_accuracy": morning,
        "consolidation": metrics.consolidation(evening, morning),
        "gain": metrics.gain(metrics.average_accuracy(a), 0.02),
        "practice_accuracy": None,
        "night_seconds": 12.0 * cost,
        "night_flops": 3e11 * cost,
        "night_train_tokens": 40_000 * cost,
        "added_parameters": 15_000.0 * days * cost,
        "state_bytes": float(weights + keys + text),
        "state_weights_bytes": float(weights),
        "state_keys_bytes": float(keys),
        "state_text_bytes": float(text),
    }


def _night(night: int, evening: float, morning: float, cost: float) -> NightResult:
    weights, keys, text = (cost * size * night for size in (60_000, 2_000, 12))
    return NightResult(
        night=night,
        evening=evening,
        morning=morning,
        seconds=12.0 * cost,
        train_tokens=40_000 * cost,
        generated_tokens=2_000 * cost,
        flops=3e11 * cost,
        added_parameters=15_000 * night * cost,
        state_bytes=weights + keys + text,
        state_weights_bytes=weights,
        state_keys_bytes=keys,
        state_text_bytes=text,
    )


def _rows(matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]

"""Rules on what was run: checked before any stream is rebuilt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sleepgym.core import registry
from sleepgym.core.settings import build_config, completed_settings, plain
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Run, Submission, run_digest

Problems = list[str]


def check_board(submission: Submission, board: Board) -> Problems:
    """Rule ``board``."""
    if (submission.board, submission.board_version) == (board.name, board.version):
        return []
    given = f"{submission.board} version {submission.board_version}"
    return [f"it is for {given}; this is {board.name} version {board.version}"]


def check_card(submission: Submission, board: Board, seeds: Sequence[int]) -> Problems:
    """Rule ``card``."""
    problems, commit = [], submission.card.commit
    if board.seal is not None and commit not in board.seal.codes:
        problems.append(f"code {commit} is not one that was fixed before the streams were drawn")
    tuned = re.findall(r"(\d+)(?:-(\d+))?", submission.card.tuning_seeds)
    both = [s for s in seeds if any(int(a) <= s <= int(b or a) for a, b in tuned)]
    return problems + ([f"tuned on ranked seeds: {_listed(both)}"] if both else [])


def check_digests(runs: Sequence[Run]) -> Problems:
    """Rule ``digest``."""
    return [
        f"seed {run.seed}: the run was changed after it was packed"
        for run in runs
        if run_digest(run) != run.digest
    ]


def board_settings(board: Board) -> dict[str, Any]:
    """Every setting of the board's environment as plain values."""
    config = registry.family_class(board.environment.id).Config
    return plain(build_config(config, board.environment.settings, f"board {board.name}"))


def check_environment(runs: Sequence[Run], board: Board) -> Problems:
    """Rule ``environment``."""
    expected = {"id": board.environment.id, "exams": board.environment.exams}
    expected |= board_settings(board)
    config = registry.family_class(board.environment.id).Config
    problems = []
    for run in runs:
        given = {"id": run.environment.id, "exams": run.environment.exams}
        given |= completed_settings(config, run.environment.settings)
        for name in sorted({*expected, *given}):
            if given.get(name) != expected.get(name) or (name in given) != (name in expected):
                problems.append(
                    f"seed {run.seed}: {name} is {_shown(given.get(name))}, "
                    f"the board's is {_shown(expected.get(name))}"
                )
    return problems


def check_one_method(runs: Sequence[Run]) -> Problems:
    """Rule ``one-method``."""
    first = runs[0].method.model_dump()
    problems = []
    for run in runs[1:]:
        method = run.method.model_dump()
        apart = [name for name in first if method[name] != first[name]]
        if apart == ["settings"]:
            ours, theirs = first["settings"], method["settings"]
            apart = [n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n)]
        if apart:
            problems.append(f"seeds {runs[0].seed} and {run.seed} differ in {', '.join(apart)}")
    return problems


def check_base_model(runs: Sequence[Run], board: Board) -> Problems:
    """Rule ``base-model``."""
    rule = board.base_model
    if rule is None:
        return []
    problems = []
    for run in runs:
        method = run.method
        if method.model is None:
            continue
        if method.model != rule.spec:
            problems.append(
                f"seed {run.seed}: model {_shown(method.model)}, the board's is --model {rule.spec}"
            )
        elif method.model_digest != rule.digest:
            problems.append(
                f"seed {run.seed}: the files of {rule.name} are others than the board's"
            )
    return problems


def check_audit(runs: Sequence[Run]) -> Problems:
    """Rule ``audit``."""
    return [
        f"seed {run.seed}: --audit off: nothing shows that its context was wiped"
        for run in runs
        if run.method.audit == "off"
    ]


def check_seeds(runs: Sequence[Run], seeds: Sequence[int]) -> Problems:
    """Rule ``seeds``."""
    given = [run.seed for run in runs]
    problems = []
    if missing := sorted(set(seeds) - set(given)):
        problems.append(f"no run of seed {_listed(missing)}")
    if strange := sorted(set(given) - set(seeds)):
        problems.append(f"seed {_listed(strange)} is not of the board, which asks {_listed(seeds)}")
    if len(set(given)) < len(given):
        twice = sorted({seed for seed in given if given.count(seed) > 1})
        problems.append(f"more than one run of seed {_listed(twice)}")
    if not problems and given != sorted(given):
        problems.append("the runs are not in the order of their seeds")
    return problems


def _listed(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    return shown + (f" and {len(seeds) - 10} more" if len(seeds) > 10 else "")


def _shown(value: Any) -> str:
    return f"{value!r:.60}"

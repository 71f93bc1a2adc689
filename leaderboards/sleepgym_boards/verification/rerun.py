"""Living nights again: an agent must do what its records say, where no answer key is in reach.

A (seed, night) pair is lived again: told and slept through are all days up to that night, asked are
its evening and its morning. Every instance of the agent lives in a process of its own, in a sandbox
where one can be made, that holds neither the environment nor the records, and cannot import the
package of the task family. So an agent that reads the key through Python, or that hides in memory
what is not in its state, comes out otherwise than its records say.

Where the saved state comes out the same, so must the costs, and all but a hundredth of the answers
(another processor may round a near tie the other way). Where it does not, because processors or
libraries differ, costs and scores must be alike within the tolerances below; scores of a short exam
within two standard errors of the difference of two such scores, where that is more.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import numpy as np

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import AgentError
from sleepgym.runs.state import KINDS
from sleepgym.runs.workers import make_pool
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Ledger, PhaseRecord, Run, kept_text
from sleepgym_boards.verification.regrading import rebuild
from sleepgym_boards.verification.replay_night import Outcome, places, replay_night

SCORE_TOLERANCE = 0.1  # of the mean score of an exam
STANDARD_ERRORS = 2  # of the difference of two mean scores, where that is more
COST_TOLERANCE = 0.25  # of tokens, operations, parameters and bytes
SECONDS_FACTOR = 10
ANSWER_TOLERANCE = 0.01  # of the answers of an exam, where the state is the same


def rerun(
    runs: Sequence[Run], board: Board, count: int, data: Path | None, workers: int = 1
) -> tuple[list[str], str]:
    """Rule ``rerun``: problems of some pairs drawn at random, and which pairs those were.

    Args:
        runs: Those of a submission.
        board: Its board.
        count: How many pairs to draw.
        data: Folder of original data files.
        workers: Nights executed side by side.
    """
    pairs = [(run, night) for run in runs for night in range(1, _nights(run) + 1)]
    chosen = secrets.SystemRandom().sample(pairs, min(count, len(pairs)))
    if workers == 1:
        found = [_again(run, night, board, data) for run, night in chosen]
    else:
        with make_pool(min(workers, len(chosen))) as pool:
            found = list(pool.map(_again, *zip(*chosen, strict=True), repeat(board), repeat(data)))
    problems, drawn = [], []
    for (run, night), (wrong, same) in zip(chosen, found, strict=True):
        problems += [f"seed {run.seed}, night {night}: {problem}" for problem in wrong]
        drawn.append(f"seed {run.seed} night {night}" + (" (same state)" if same else ""))
    return problems, f"{len(chosen)} of {len(pairs)} nights: {', '.join(drawn)}"


def _again(run: Run, night: int, board: Board, data: Path | None) -> tuple[list[str], bool]:
    try:
        return compare(run, night, replay_night(run, night, board, data), board, data)
    except AgentError as error:
        return [str(error)], False


def compare(
    run: Run, night: int, lived: Outcome, board: Board, data: Path | None = None
) -> tuple[list[str], bool]:
    """What came out otherwise than a run's records say.

    Returns:
        The problems, and whether the saved state is the same, byte for byte.
    """
    evening, bedtime, morning = places(run, night)
    ledger = run.phases[bedtime].ledger
    assert ledger is not None
    same = lived.kept["state_digest"] == ledger.state_digest
    problems = _compare_night(run.phases[bedtime], ledger, lived, same)
    env = rebuild(board, run.seed, data)
    if evening is not None:
        problems += _compare_exam(run.phases[evening], lived.evening, env, same)
    return problems + _compare_exam(run.phases[morning], lived.morning, env, same), same


def _compare_night(phase: PhaseRecord, ledger: Ledger, lived: Outcome, same: bool) -> list[str]:
    problems = []
    named = {name: (getattr(phase, name), lived.cost[name]) for name in Meter.FIELDS}
    sizes = ("added_parameters", "state_bytes", *(f"state_{kind}_bytes" for kind in KINDS))
    named |= {name: (getattr(ledger, name), lived.kept[name]) for name in sizes}
    for name, (said, found) in named.items():
        slack = 0 if same else COST_TOLERANCE * max(said, found)
        if abs(said - found) > slack and said != lived.kept_before.get(name):
            problems.append(f"{name} is {found:g}, not {said:g}")
    if lived.cost["seconds"] > SECONDS_FACTOR * phase.seconds + 1:
        problems.append(f"it took {lived.cost['seconds']:.1f} s, not {phase.seconds:g}")
    return problems


def _compare_exam(
    phase: PhaseRecord, answers: tuple[str, ...], env: ContinualEnv, same: bool
) -> list[str]:
    said = [answer.text for answer in phase.answers]
    given = [kept_text(answer) for answer in answers]
    if len(given) != len(said):
        return [f"{len(given)} answers to {len(said)} questions of the {phase.phase}"]
    if same:
        apart = sum(a != b for a, b in zip(said, given, strict=True))
        if apart <= ANSWER_TOLERANCE * len(said):
            return []
        return [f"{apart} of {len(said)} answers of the {phase.phase} are others"]
    assert env.stream is not None
    scored = [
        max(env.family.score_item(answer.id, text, target) for target in env.stream.key[answer.id])
        for text, answer in zip(given, phase.answers, strict=True)
    ]
    mean, claimed = float(np.mean(scored)), float(np.mean([a.score for a in phase.answers]))
    if abs(mean - claimed) <= score_tolerance(mean, claimed, len(said)):
        return []
    return [f"the {phase.phase} scores {mean:.2f}, not {claimed:.2f}"]


def score_tolerance(mean: float, other: float, questions: int) -> float:
    """How far two mean scores of an exam may lie apart where the states differ.

    Args:
        mean: One of them, in [0, 1].
        other: The other.
        questions: How many were asked.
    """
    share = (mean + other) / 2
    error = math.sqrt(2 * share * (1 - share) / max(1, questions))
    return max(SCORE_TOLERANCE, STANDARD_ERRORS * error)


def _nights(run: Run) -> int:
    return sum(phase.phase == "sleep" for phase in run.phases)

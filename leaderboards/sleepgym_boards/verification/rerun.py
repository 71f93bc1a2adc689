"""Living nights again: an agent must do what its records say, where no answer key is in reach.

A (seed, night) pair is lived again: told and slept through are all days up to that night, asked are
its evening and its morning, when all nights are over. Every instance of the agent lives in a
process of its own, in a sandbox where one can be made, that holds neither the environment nor the
records, and cannot import the package of the task family. So an agent that reads the key through
Python, or that hides in memory what is not in its state, comes out otherwise than its records say.

Where the saved state comes out the same, so must the costs, and all but a hundredth of the answers
(another processor may round a near tie the other way). Where it does not, because processors or
libraries differ, costs and scores must be alike within the tolerances below; scores of a short exam
within two standard errors of the difference of two such scores, where that is more. And what is
claimed may exceed what is found by chance alone: over all such nights of a rerun together, answers
are compared one by one, and those that were better when they were recorded may outnumber those that
are better now by :data:`LUCK` standard errors of their difference. A claim that is a little too
high everywhere stays within each exam's tolerance and is found so. Answers are compared so as well
where the state is the same, but a GPU gave the recorded ones and none is here: a model is read in
another precision there.

Seconds are compared where the kind of device is the same. A night whose record says that a GPU was
busy takes any multiple of its seconds on a machine without one: there tokens, operations, sizes and
answers decide, and the note of the rule says so. Where a board or a run limits the seconds of a
night, they are compared all the same.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import AgentError
from sleepgym.runs.isolation.memory import free_memory_bytes
from sleepgym.runs.models.base_model import is_served, model_digest
from sleepgym.runs.state import KINDS
from sleepgym.runs.workers import make_pool
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Ledger, PhaseRecord, Run, kept_text
from sleepgym_boards.verification.regrading import rebuild
from sleepgym_boards.verification.replay_night import Outcome, places, replay_night

SCORE_TOLERANCE = 0.1  # of the mean score of an exam
STANDARD_ERRORS = 2  # of the difference of two mean scores, where that is more
LUCK = 2  # standard errors by which claimed scores may exceed those found, all nights together
COST_TOLERANCE = 0.25  # of tokens, operations, parameters and bytes
SECONDS_FACTOR = 10
# Seconds more than that: a process of its own has to start, and to import its libraries.
SLACK_S = {"seconds": 1.0, "saving_seconds": 1.0, "setup_seconds": 30.0, "processor_seconds": 30.0}
MEMORY_SHARE = 0.8  # of the memory that is free, for the agents of all nights that are executed
ANSWER_TOLERANCE = 0.01  # of the answers of an exam, where the state is the same


@dataclass(frozen=True)
class Comparison:
    """How a night came out, beside what its records say.

    Attributes:
        problems: What came out otherwise.
        same: Whether the saved state is the same, byte for byte.
        surplus: Of every answer, its recorded score minus the one here; none where the answers
            themselves must be the same.
        timed: Whether its seconds were compared.
    """

    problems: list[str]
    same: bool = False
    surplus: tuple[float, ...] = ()
    timed: bool = True


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
    chosen = draw(runs, count)
    workers = min(workers, len(chosen))
    free = free_memory_bytes()
    told = board, data, None if free is None else int(MEMORY_SHARE * free / workers)
    if workers == 1:
        found = [_again(run, night, *told) for run, night in chosen]
    else:
        with make_pool(workers) as pool:
            found = list(pool.map(_again, *zip(*chosen, strict=True), *map(repeat, told)))
    problems, drawn = [], []
    for (run, night), compared in zip(chosen, found, strict=True):
        problems += [f"seed {run.seed}, night {night}: {problem}" for problem in compared.problems]
        drawn.append(f"seed {run.seed} night {night}" + (" (same state)" if compared.same else ""))
    surplus = [value for compared in found for value in compared.surplus]
    problems += overclaimed(surplus)
    total = sum(map(_nights, runs))
    said = f"{len(chosen)} of {total} nights: {', '.join(drawn)}{_in_words(surplus)}"
    if untimed := sum(not compared.timed for compared in found):
        said += f"; seconds of {untimed} not compared: recorded on a GPU, executed here without one"
    return problems, said


def draw(runs: Sequence[Run], count: int) -> list[tuple[Run, int]]:
    """Pairs of a run and a night, at random.

    Where two or more are drawn, one is a run's last: boards rank by what is known after it.
    """
    random = secrets.SystemRandom()
    places = [(place, n) for place, run in enumerate(runs) for n in range(1, _nights(run) + 1)]
    ends = [(place, _nights(run)) for place, run in enumerate(runs)]
    drawn = {random.choice(ends)} if count > 1 else set()
    rest = [pair for pair in places if pair not in drawn]
    drawn |= set(random.sample(rest, min(count, len(places)) - len(drawn)))
    return [(runs[place], night) for place, night in sorted(drawn)]


def overclaimed(surplus: Sequence[float]) -> list[str]:
    """The problem of recorded scores that exceed those found here by more than chance.

    Args:
        surplus: Recorded score minus the one found, of every answer of all nights whose state is
            another.
    """
    total = sum(surplus)
    if total <= allowed_surplus(surplus):
        return []
    better, worse = _better_and_worse(surplus)
    return [
        f"of {len(surplus)} answers {better} were better when they were recorded and {worse} are "
        "better now: more than chance explains"
    ]


def allowed_surplus(surplus: Sequence[float]) -> float:
    """By how much the sum of recorded scores may exceed the sum of those found.

    The variance of a sum of differences that are as likely positive as negative is the sum of their
    squares (for right and wrong answers: McNemar 1947).
    """
    return LUCK * math.sqrt(sum(value * value for value in surplus))


def _in_words(surplus: Sequence[float]) -> str:
    if not surplus:
        return ""
    better, worse = _better_and_worse(surplus)
    return (
        f"; where states differ, {better} of {len(surplus)} answers were better in the record, "
        f"{worse} are better here"
    )


def _better_and_worse(surplus: Sequence[float]) -> tuple[int, int]:
    return sum(value > 0 for value in surplus), sum(value < 0 for value in surplus)


def _again(
    run: Run, night: int, board: Board, data: Path | None, memory_bytes: int | None
) -> Comparison:
    if problem := _other_model(run):
        return Comparison([problem])
    try:
        lived = replay_night(run, night, board, data, memory_bytes)
        return compare(run, night, lived, board, data)
    except AgentError as error:
        return Comparison([str(error)])


def _other_model(run: Run) -> str:
    """Why a night is not executed with the model that a run names; empty where it may be.

    Two of one name are two methods, whatever their answers have in common. The name is a
    stranger's: as a path it would show the agent what lies there, such as the records, and as an
    address it would tell a server this machine's key.
    """
    model, said = run.method.model, run.method.model_digest
    if not model:
        return ""
    if is_served(model):
        return f"model {model!r:.60} is behind a server: no night can be executed with it again"
    path = Path(model).expanduser()
    named = model in ("embedded", "scratch") or not path.exists()
    if not named and not (said and _is_model(path)):
        return f"model {model!r:.60} is a path of this machine at which the record tells no model"
    here = model_digest(model) if said else None
    if here in (None, said):
        return ""
    return f"the files of model {model!r:.60} are others here: SHA-256 {here:.12}"


def _is_model(path: Path) -> bool:
    """Whether a folder holds a model, or a file is one: told before anything is read."""
    if path.is_file():
        return path.suffix == ".gguf"
    return (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def compare(
    run: Run, night: int, lived: Outcome, board: Board, data: Path | None = None
) -> Comparison:
    """What came out otherwise than a run's records say."""
    evening, bedtime, morning = places(run, night)
    ledger = run.phases[bedtime].ledger
    assert ledger is not None
    same = lived.kept["state_digest"] == ledger.state_digest
    problems = _compare_night(run.phases[bedtime], ledger, lived, same)
    alike = _same_device(run.phases[bedtime], lived)
    timed = alike or _limits_seconds(run, board)
    if timed:
        problems += _compare_seconds(run.phases[bedtime], ledger, lived)
    env = rebuild(board, run.seed, data)
    surplus: list[float] = []
    for index, answers in ((evening, lived.evening), (morning, lived.morning)):
        if index is None:
            continue
        phase = run.phases[index]
        if len(answers) != len(phase.answers):
            said = f"{len(answers)} answers to {len(phase.answers)} questions of the {phase.phase}"
            problems.append(said)
        elif same and alike:
            problems += _compare_answers(phase, answers)
        else:
            scores = _grade(phase, answers, env)
            problems += _compare_scores(phase, scores)
            surplus += [a.score - score for a, score in zip(phase.answers, scores, strict=True)]
    return Comparison(problems, same, tuple(surplus), timed)


def _compare_night(phase: PhaseRecord, ledger: Ledger, lived: Outcome, same: bool) -> list[str]:
    problems = []
    named = {name: (getattr(phase, name), lived.cost[name]) for name in Meter.FIELDS}
    old = ledger.declared_parameters is None  # schema 1 says less, and counted otherwise
    if not old:
        beside = (f"setup_{name}" for name in Meter.FIELDS)
        named |= {name: (getattr(ledger, name), lived.cost[name]) for name in beside}
    sizes = ("added_parameters", "state_bytes", *(f"state_{kind}_bytes" for kind in KINDS))
    named |= {name: (getattr(ledger, name), lived.kept[name]) for name in sizes}
    for name, (said, found) in named.items():
        slack = 0 if same else COST_TOLERANCE * max(said, found)
        if abs(said - found) > slack and not (old and said == lived.kept_before.get(name)):
            problems.append(f"{name} is {found:g}, not {said:g}")
    return problems


def _same_device(phase: PhaseRecord, lived: Outcome) -> bool:
    """Whether a night was executed here on a GPU if its record says that one was busy."""
    return not phase.gpu_seconds or bool(lived.cost["gpu_seconds"])


def _limits_seconds(run: Run, board: Board) -> bool:
    limits = (run.limits.get("night_seconds"), *(b.night_seconds for b in board.budgets))
    return any(limit is not None for limit in limits)


def _compare_seconds(phase: PhaseRecord, ledger: Ledger, lived: Outcome) -> list[str]:
    problems = []
    times = {"seconds": phase.seconds, "processor_seconds": phase.processor_seconds}
    times |= {"setup_seconds": phase.setup_seconds, "saving_seconds": ledger.saving_seconds}
    for name, said in times.items():
        found = lived.cost[name]
        if None not in (said, found) and found > SECONDS_FACTOR * said + SLACK_S[name]:
            problems.append(f"{name} is {found:.1f}, not {said:g}")
    return problems


def _compare_answers(phase: PhaseRecord, answers: tuple[str, ...]) -> list[str]:
    said = [answer.text for answer in phase.answers]
    apart = sum(kept_text(given) != text for given, text in zip(answers, said, strict=True))
    if apart <= ANSWER_TOLERANCE * len(said):
        return []
    return [f"{apart} of {len(said)} answers of the {phase.phase} are others"]


def _grade(phase: PhaseRecord, answers: tuple[str, ...], env: ContinualEnv) -> list[float]:
    assert env.stream is not None
    key, score = env.stream.key, env.family.score_item
    return [
        max(score(answer.id, kept_text(given), target) for target in key[answer.id])
        for given, answer in zip(answers, phase.answers, strict=True)
    ]


def _compare_scores(phase: PhaseRecord, scores: list[float]) -> list[str]:
    mean, claimed = float(np.mean(scores)), float(np.mean([a.score for a in phase.answers]))
    if abs(mean - claimed) <= score_tolerance(mean, claimed, len(scores)):
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

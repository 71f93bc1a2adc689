"""Rules on the records: each stream is rebuilt from its seed, each answer graded again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv, make_env
from sleepgym.core.schedule import Step
from sleepgym.core.types import question_hash
from sleepgym.runs.costs.ledger import unpaid
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Ledger, PhaseRecord, Run

Problems = list[str]
_OPERATIONS_PER_SECOND = 1e16  # more than any machine of today does for one model
_RESOLUTION_S = 1e-4  # of a record's seconds
_WIDEST_BYTES, _HEADERS_BYTES = 8, 1 << 16  # of a number; of all headers of a state


def rebuild(board: Board, seed: int, data: Path | None) -> ContinualEnv:
    """The board's environment with the stream of a seed.

    Raises:
        SleepGymError: If its data set is not at hand.
    """
    environment = board.environment
    env = make_env(environment.id, data=data, exams=environment.exams, **environment.settings)
    env.reset(seed=seed)
    return env


def check_stream(run: Run, env: ContinualEnv) -> Problems:
    """Rule ``stream``."""
    assert env.stream is not None
    if run.stream_hash == env.stream.content_hash:
        return []
    return [f"seed {run.seed}: its stream is another than the one of this seed"]


def check_coverage(run: Run, env: ContinualEnv) -> Problems:
    """Rule ``coverage``."""
    problems = []
    for step, phase in zip_longest(env.steps, run.phases):
        if phase is None:
            problems.append(f"seed {run.seed}: the run ends before the {step.where}")
            break
        if step is None or (phase.phase, phase.day, phase.night) != (
            step.name,
            step.day,
            step.night,
        ):
            wanted = step.where if step else "end of the stream"
            problems.append(
                f"seed {run.seed}: {phase.phase} of day {phase.day} after night {phase.night} "
                f"stands where the {wanted} belongs"
            )
            break
        problems += [f"seed {run.seed}, {step.where}: {p}" for p in _uncovered(step, phase)]
    return problems


def _uncovered(step: Step, phase: PhaseRecord) -> Iterator[str]:
    wanted = [item.id for item in step.items]
    given = [answer.id for answer in phase.answers]
    if given != wanted:
        if missing := list((Counter(wanted) - Counter(given)).elements()):
            yield f"{len(missing)} questions without an answer, {missing[0]!r} among them"
        if more := list((Counter(given) - Counter(wanted)).elements()):
            yield f"{len(more)} answers too many, one to {more[0]!r:.60}"
        if Counter(given) == Counter(wanted):
            yield "the answers are not in the order of the questions"
        return
    shown = [question_hash(question) for question in step.questions]
    for item, prompt, answer in zip(step.items, shown, phase.answers, strict=True):
        if answer.prompt != prompt:
            yield f"{item.id!r} was asked in other words or with other choices"
            return


def check_grades(run: Run, env: ContinualEnv) -> Problems:
    """Rule ``grades``; the coverage must hold."""
    assert env.stream is not None
    key, score = env.stream.key, env.family.score_item
    known: dict[tuple[str, str], float] = {}
    wrong = []
    for step, phase in zip(env.steps, run.phases, strict=True):
        for answer in phase.answers:
            if (answer.id, answer.text) not in known:
                known[answer.id, answer.text] = max(
                    score(answer.id, answer.text, target) for target in key[answer.id]
                )
            graded = known[answer.id, answer.text]
            if not math.isclose(graded, answer.score, abs_tol=1e-9):
                wrong.append(f"{step.where}, {answer.id!r}: {graded:g}, not {answer.score:g}")
    if not wrong:
        return []
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return [f"seed {run.seed}, {wrong[0]}{more}"]


def check_ledger(run: Run) -> Problems:
    """Rule ``ledger``."""
    problems = [
        f"seed {run.seed}, {phase.phase} of day {phase.day}: {problem}"
        for phase in run.phases
        for problem in _impossible(phase)
    ]
    return problems or [f"seed {run.seed}, {problem}" for problem in _unpaid(run)]


def _impossible(phase: PhaseRecord) -> Iterator[str]:
    tokens = phase.read_tokens + phase.generated_tokens + phase.train_tokens
    if tokens and not phase.flops:
        yield f"{tokens} tokens without an operation"
    if phase.flops > _OPERATIONS_PER_SECOND * (phase.seconds + _RESOLUTION_S):
        yield f"{phase.flops:.3g} operations in {phase.seconds:g} s"
    ledger = phase.ledger
    if (ledger is not None) != (phase.phase == "sleep"):
        yield "a night has a ledger, and only a night"
    elif ledger is not None:
        kinds = (ledger.state_weights_bytes, ledger.state_keys_bytes, ledger.state_text_bytes)
        if sum(kinds) != ledger.state_bytes:
            yield f"its state is {ledger.state_bytes} bytes, by kind {sum(kinds)}"
        yield from _uncounted(ledger)


def _uncounted(ledger: Ledger) -> Iterator[str]:
    """Parameters in the state that were not added, by schema 2: until then they were declared."""
    declared, added = ledger.declared_parameters, ledger.added_parameters
    if declared is None:
        return
    if added < declared:
        yield f"it added {added} parameters and declared {declared}"
    numbers_bytes = ledger.state_weights_bytes + ledger.state_keys_bytes
    if numbers_bytes > _WIDEST_BYTES * added + _HEADERS_BYTES:
        yield f"its state holds {numbers_bytes} bytes of numbers, and it added {added} parameters"


def _unpaid(run: Run) -> Iterator[str]:
    """Numbers that changed for nothing; those in the first state count as changed."""
    before, told = "", 0.0
    for phase in run.phases:
        spent = sum(float(getattr(phase, name)) for name in Meter.FIELDS)
        if phase.phase in ("study", "practice"):
            told += spent
        if phase.ledger is None:
            continue
        ledger = phase.ledger
        spent += sum(float(getattr(ledger, f"setup_{name}") or 0) for name in Meter.FIELDS)
        numbers_bytes = ledger.state_weights_bytes + ledger.state_keys_bytes
        problem = unpaid(numbers_bytes, ledger.state_digest != before, told + spent)
        if problem:
            yield f"night {phase.day}: {problem}"
        before, told = ledger.state_digest, 0.0

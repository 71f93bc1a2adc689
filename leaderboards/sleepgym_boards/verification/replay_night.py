"""A night of a submission, lived again by processes that never hold the environment."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.budget import Budget
from sleepgym.core.errors import AgentError, SleepGymError
from sleepgym.core.settings import build_config
from sleepgym.core.types import Phase
from sleepgym.runs.archive import pack_state
from sleepgym.runs.costs.ledger import kept_after
from sleepgym.runs.day import DayDriver, Raised
from sleepgym.runs.isolation.process import ProcessInstance
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import sizes_by_kind
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild


@dataclass(frozen=True)
class Outcome:
    """How a night came out.

    Attributes:
        evening: Answers of the exam before it.
        cost: What it cost, by the names of the meter, and ``seconds``.
        kept: What was kept, by the names of a ledger.
        kept_before: The same by the rules of before: sizes that counted no names, parameters that
            were declared.
        morning: Answers of the exam after it.
    """

    evening: tuple[str, ...]
    cost: dict[str, float]
    kept: dict[str, Any]
    kept_before: dict[str, int] = field(default_factory=dict)
    morning: tuple[str, ...] = ()


def replay_night(run: Run, night: int, board: Board, data: Path | None = None) -> Outcome:
    """Live the days of a run up to a night again, and sit its morning exam.

    Every instance of the agent has a process of its own, in a sandbox where one can be made.

    Raises:
        UnknownName: If the agent is not registered here.
        AgentError: If the agent raises, or does not answer one string a question.
    """
    env = rebuild(board, run.seed, data)
    assert env.stream is not None
    registry.agent_package(run.method.agent)  # named, not imported: raises where there is none
    evening, _, morning = places(run, night)
    call = replace(_spec(run).agent_call(), upgrade=True)
    digest, answers, cost, kept, kept_before = "", {}, {}, {}, {}
    budget = build_config(Budget, _limits(run), "the run's budget")

    def make(state: Path | None) -> ProcessInstance:
        return ProcessInstance(call, state, digest)

    day = DayDriver(make, env.stream.key, budget, None, env.stream.introduction)
    with tempfile.TemporaryDirectory() as folder:
        try:
            for index, step in enumerate(env.steps[: morning + 1]):
                if index in (evening, morning):
                    answers[index] = day.live(step).answers
                elif step.phase is Phase.SLEEP:
                    cost = dict(day.live(step).cost)
                    saved, state = (Path(folder) / f"{name}-{index}" for name in ("saved", "state"))
                    saved.mkdir()
                    state.mkdir()
                    declared = day.save(saved)
                    digest, _ = pack_state(saved, state)
                    kept = {**kept_after(state, declared), "state_digest": digest}
                    kept_before = {"added_parameters": declared, **_sizes(state)}
                    day.wake(state)
                else:
                    day.skip(step)
        except AgentError:
            raise
        except (Raised, SleepGymError) as error:  # an agent may raise anything: the finding
            kind = getattr(error, "kind", type(error).__name__)
            raise AgentError(f"the agent raised {kind}: {error!s:.200}") from error
        finally:
            day.close()
    return Outcome(answers.get(evening, ()), cost, kept, kept_before, answers[morning])


def _sizes(state: Path) -> dict[str, int]:
    """Bytes by kind, by the names of a ledger, by the rule of before 0.2."""
    kinds = sizes_by_kind(state, names=False)
    return {"state_bytes": sum(kinds.values())} | {f"state_{k}_bytes": n for k, n in kinds.items()}


def _spec(run: Run) -> RunSpec:
    return RunSpec(
        env=run.environment.id,
        agent=run.method.agent,
        env_settings={**run.environment.settings, "exams": run.environment.exams},
        agent_settings=run.method.settings,
        seed=run.seed,
        model=run.method.model or "embedded",
        isolation=strictest_isolation(),
        salt=run.salt or "",
    )


def _limits(run: Run) -> dict[str, float]:
    return {name: limit for name, limit in run.limits.items() if limit is not None}


def places(run: Run, night: int) -> tuple[int | None, int, int]:
    """Indices of a day's evening exam, of its night and of the morning after it."""
    found = {p.phase: i for i, p in enumerate(run.phases) if p.day == night}
    return found.get("evening"), found["sleep"], found["morning"]

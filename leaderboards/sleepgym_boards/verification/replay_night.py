"""A night of a submission, lived again by processes that never hold the environment."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.budget import Budget
from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import AgentError, SleepGymError, one_line
from sleepgym.core.settings import build_config
from sleepgym.core.types import Phase
from sleepgym.runs.archive import pack_state
from sleepgym.runs.costs.ledger import kept_after, whole_night
from sleepgym.runs.day import DayDriver, Raised
from sleepgym.runs.isolation.process import ProcessInstance
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import sizes_by_kind
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild

LIMIT_FACTOR, LIMIT_S = 100.0, 600.0  # of a phase of a rerun: times the longest one, and that much
NIGHT_S = 86_400.0  # that a drawn night may take, all phases before it too, whatever is recorded


@dataclass(frozen=True)
class Outcome:
    """How a night came out.

    Attributes:
        evening: Answers of the exam before it.
        cost: What it cost, as :func:`sleepgym.runs.costs.ledger.whole_night` has it.
        kept: What was kept, by the names of a ledger.
        kept_before: The same by the rules of schema 1: sizes that counted no names, parameters that
            were declared.
        morning: Answers of the exam after it.
    """

    evening: tuple[str, ...]
    cost: dict[str, float]
    kept: dict[str, Any]
    kept_before: dict[str, int] = field(default_factory=dict)
    morning: tuple[str, ...] = ()


def replay_night(
    run: Run, night: int, board: Board, data: Path | None = None, memory_bytes: int | None = None
) -> Outcome:
    """Live the days of a run up to a night again, and sit the exams before and after that night.

    All nights come first, and the exams when they are over: as no question was asked by then, none
    can reach a night by any way there may be out of a process or a sandbox. Every instance of the
    agent has a process of its own, in a sandbox where one can be made.

    Args:
        run: The run.
        night: Which night, from 1.
        board: Its board.
        data: Folder of original data files.
        memory_bytes: The most that an instance's processes may take together; None is no limit.

    Raises:
        UnknownName: If the agent is not registered here.
        AgentError: If the agent raises, or does not answer one string a question.
    """
    env = rebuild(board, run.seed, data)
    registry.agent_package(run.method.agent)  # named, not imported: raises where there is none
    evening, bedtime, morning = places(run, night)
    with tempfile.TemporaryDirectory(prefix="sleepgym-") as folder:
        again = _Again(run, env, Path(folder), memory_bytes)
        try:
            before: Path | None = None
            state: Path | None = None
            for index in range(bedtime + 1):
                if env.steps[index].phase is Phase.SLEEP:
                    before, state = state, again.sleep(index, state)
            cost, kept, kept_before = again.slept
            asked = () if evening is None else again.sit(evening, before)
            return Outcome(asked, cost, kept, kept_before, again.sit(morning, state))
        except AgentError:
            raise
        except (Raised, SleepGymError) as error:  # an agent may raise anything: the finding
            kind = getattr(error, "kind", type(error).__name__)
            raise AgentError(one_line(f"the agent raised {kind}: {error!s:.200}")) from error


class _Again:
    """The phases of a run, each from a given state.

    Attributes:
        slept: Cost of the last night, what was kept, and that by the rules of schema 1.
    """

    def __init__(self, run: Run, env: ContinualEnv, folder: Path, memory_bytes: int | None) -> None:
        self.slept: tuple[dict[str, Any], dict[str, Any], dict[str, int]] = ({}, {}, {})
        self._env = env
        self._folder = folder
        self._call = replace(_spec(run).agent_call(), upgrade=True, memory_bytes=memory_bytes)
        self._end_s = time.monotonic() + NIGHT_S
        self._budget = build_config(Budget, _limits(run), "the run's budget")
        self._digests: dict[Path, str] = {}

    def sleep(self, index: int, state: Path | None) -> Path:
        """Live a night from a state; the state after it."""
        saved, after = (self._folder / f"{name}-{index}" for name in ("saved", "state"))
        saved.mkdir()
        after.mkdir()
        with self._day(index, state) as day:
            lived = day.live(self._env.steps[index])
            declared = day.save(saved)
        self._digests[after], _ = pack_state(saved, after)
        shutil.rmtree(saved)
        kept = {**kept_after(after, declared), "state_digest": self._digests[after]}
        cost = whole_night(lived.cost, lived.setup, day.saving)
        self.slept = (cost, kept, {"added_parameters": declared, **_sizes(after)})
        return after

    def sit(self, index: int, state: Path | None) -> tuple[str, ...]:
        """The answers of an exam."""
        with self._day(index, state) as day:
            return day.live(self._env.steps[index]).answers

    @contextmanager
    def _day(self, index: int, state: Path | None) -> Iterator[DayDriver]:
        """A day from a state, told as far as a phase."""
        stream, steps = self._env.stream, self._env.steps
        assert stream is not None
        day = DayDriver(self._make, stream.key, self._budget, state, stream.introduction)
        ends = [place for place in range(index) if steps[place].phase is Phase.SLEEP]
        for place in range(ends[-1] + 1 if ends else 0, index):
            day.skip(steps[place])
        try:
            yield day
        finally:
            day.close()

    def _make(self, state: Path | None) -> ProcessInstance:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise AgentError(f"a rerun of a night takes at most {NIGHT_S:g} s")
        call = replace(self._call, limit_s=min(self._call.limit_s, left_s))
        return ProcessInstance(call, state, self._digests[state] if state else "")


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
        phase_limit_s=phase_limit_s(run),
    )


def phase_limit_s(run: Run) -> float:
    """How long a phase may take here: far longer than any that is recorded, and a day at most."""
    longest = max(phase.seconds + (phase.setup_seconds or 0.0) for phase in run.phases)
    return min(LIMIT_FACTOR * longest + LIMIT_S, NIGHT_S)


def _limits(run: Run) -> dict[str, float]:
    return {name: limit for name, limit in run.limits.items() if limit is not None}


def places(run: Run, night: int) -> tuple[int | None, int, int]:
    """Indices of a day's evening exam, of its night and of the morning after it."""
    found = {p.phase: i for i, p in enumerate(run.phases) if p.day == night}
    return found.get("evening"), found["sleep"], found["morning"]

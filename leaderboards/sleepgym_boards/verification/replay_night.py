"""A night of a submission, lived in fresh processes that never hold the environment."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.budget import Budget
from sleepgym.core.errors import AgentError, unknown_name
from sleepgym.core.schedule import Step
from sleepgym.core.settings import build_config
from sleepgym.core.types import AnswerKey, Phase
from sleepgym.runs.archive import state_digest
from sleepgym.runs.day import DayDriver, LocalInstance
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import sizes_by_kind
from sleepgym.runs.workers import make_pool
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild


@dataclass(frozen=True)
class Scene:
    """What a process is told: what to run, and what it will live.

    Attributes:
        spec: The run.
        blocked: Package that cannot be imported there; empty: none.
        steps: The phases, in order.
        key: The feedback of practice, and no other answer.
        budget: Of each night.
        live: Index of the exam whose answers are wanted.
    """

    spec: RunSpec
    blocked: str
    steps: tuple[Step, ...]
    key: AnswerKey
    budget: Budget
    live: int | None

    def begin(self, state: Path | None) -> DayDriver:
        """A day of this scene's agent."""
        spec = self.spec.upgraded()
        make = partial(LocalInstance, spec.make_agent)
        return DayDriver(make, self.key, self.budget, state)


@dataclass(frozen=True)
class Outcome:
    """How a night came out.

    Attributes:
        evening: Answers of the exam before it.
        cost: What it cost, by the names of the meter, and ``seconds``.
        kept: What was kept, by the names of a ledger.
        morning: Answers of the exam after it.
    """

    evening: tuple[str, ...]
    cost: dict[str, float]
    kept: dict[str, Any]
    morning: tuple[str, ...] = ()


def replay_night(run: Run, night: int, board: Board, data: Path | None = None) -> Outcome:
    """Live the days of a run up to a night again, and sit its morning exam.

    Raises:
        AgentError: If the agent raises, or does not answer one string a question.
    """
    env = rebuild(board, run.seed, data)
    assert env.stream is not None
    evening, bedtime, morning = places(run, night)
    practised = [i.id for s in env.steps if s.phase is Phase.PRACTICE for i in s.items]
    day = Scene(
        _spec(run),
        _blocked(run),
        env.steps[: bedtime + 1],
        AnswerKey({name: env.stream.key[name] for name in practised}),
        build_config(Budget, _limits(run), "the run's budget"),
        evening,
    )
    dawn = replace(day, steps=env.steps[morning : morning + 1])
    with tempfile.TemporaryDirectory() as folder:
        lived = _in_fresh_process(_live_day, day, folder)
        return replace(lived, morning=_in_fresh_process(_sit_morning, dawn, folder))


def _live_day(scene: Scene, folder: str) -> Outcome:
    """In a fresh process: live until bedtime, sleep, and leave the state in ``folder``."""
    _block(scene.blocked)
    day, answers, cost, kept = scene.begin(None), (), {}, {}
    for index, step in enumerate(scene.steps):
        if index == scene.live:
            answers = day.live(step).answers
        elif step.phase is Phase.SLEEP:
            cost = dict(day.live(step).cost)
            state = Path(folder) / f"night-{step.day}"
            state.mkdir()
            added = day.save(state)
            kinds = sizes_by_kind(state)
            sizes = {f"state_{kind}_bytes": size for kind, size in kinds.items()}
            kept = {"state_digest": state_digest(state)[0], "state_bytes": sum(kinds.values())}
            kept |= sizes
            kept["added_parameters"] = added
            day.wake(state)
        else:
            day.skip(step)
    return Outcome(answers, cost, kept)


def _sit_morning(scene: Scene, folder: str) -> tuple[str, ...]:
    """In a fresh process: load the state of the last night and answer."""
    _block(scene.blocked)
    state = max(Path(folder).iterdir(), key=lambda path: int(path.name.removeprefix("night-")))
    return scene.begin(state).live(scene.steps[0]).answers


def _in_fresh_process(function: Any, scene: Scene, folder: str) -> Any:
    with make_pool(1) as pool:
        try:
            return pool.submit(function, scene, folder).result()
        except AgentError:
            raise
        except Exception as error:  # an agent may raise anything: that is the finding
            raise AgentError(f"the agent raised {type(error).__name__}: {error!s:.200}") from error


def _block(package: str) -> None:
    """Make a package impossible to import in this process."""
    if package:
        for name in [n for n in sys.modules if n == package or n.startswith(package + ".")]:
            del sys.modules[name]
        sys.modules[package] = None  # type: ignore[assignment]


def _blocked(run: Run) -> str:
    """The task family's package, unless the agent is of the same one.

    The agent's module is named, not imported: nothing of a submission runs in this process.
    """
    agent = run.method.agent
    where = agent if ":" in agent else _registered(agent)
    family = registry.family_class(run.environment.id).__module__.split(".")[0]
    return "" if family in (where.split(":")[0].split(".")[0], "sleepgym") else family


def _registered(agent: str) -> str:
    if agent not in registry.agents:
        raise unknown_name("agent", agent, registry.agents)
    return registry.agents[agent].entry_point


def _spec(run: Run) -> RunSpec:
    return RunSpec(
        env=run.environment.id,
        agent=run.method.agent,
        env_settings={**run.environment.settings, "exams": run.environment.exams},
        agent_settings=run.method.settings,
        seed=run.seed,
        model=run.method.model or "embedded",
        audit=run.method.audit,
    )


def _limits(run: Run) -> dict[str, float]:
    return {name: limit for name, limit in run.limits.items() if limit is not None}


def places(run: Run, night: int) -> tuple[int | None, int, int]:
    """Indices of a day's evening exam, of its night and of the morning after it."""
    found = {p.phase: i for i, p in enumerate(run.phases) if p.day == night}
    return found.get("evening"), found["sleep"], found["morning"]

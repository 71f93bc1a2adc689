"""A night of a submission, lived in fresh processes that never hold the environment."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.budget import Budget
from sleepgym.core.errors import AgentError, unknown_name
from sleepgym.core.settings import build_config
from sleepgym.runs.journal import state_digest
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.state import sizes_by_kind
from sleepgym.runs.workers import make_pool
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild

Observation = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """What a process is told: what to run, and what it will see.

    Attributes:
        spec: The run.
        blocked: Package that cannot be imported there; empty: none.
        phases: Phase by phase its name, the observation, and the recorded answers to it.
        live: Index of the phase whose answers are wanted.
    """

    spec: RunSpec
    blocked: str
    phases: list[tuple[str, Observation, tuple[str, ...]]]
    live: int | None


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
        AgentError: If the agent raises, or learns during an exam.
    """
    env = rebuild(board, run.seed, data)
    env.budget = build_config(Budget, _limits(run), "the run's budget")
    evening, bedtime, morning = places(run, night)
    phases = []
    observation, _ = env.reset(seed=run.seed)
    for phase in run.phases[: morning + 1]:
        recorded = tuple(answer.text for answer in phase.answers)
        phases.append((phase.phase, observation, recorded))
        observation, *_ = env.step(recorded)
    day = Scene(_spec(run), _blocked(run), phases[: bedtime + 1], evening)
    dawn = replace(day, phases=phases[morning:], live=0)
    with tempfile.TemporaryDirectory() as folder:
        lived = _in_fresh_process(_live_day, day, folder)
        return replace(lived, morning=_in_fresh_process(_sit_morning, dawn, folder))


def _live_day(scene: Scene, folder: str) -> Outcome:
    """In a fresh process: live until bedtime, sleep, and leave the state in ``folder``."""
    _block(scene.blocked)
    agent, answers, cost, kept = scene.spec.upgraded().make_agent(), (), {}, {}
    for index, (name, observation, recorded) in enumerate(scene.phases):
        agent.hear(observation)
        if index == scene.live:
            answers = _sealed_answers(agent, observation)
        elif name in ("study", "sleep"):
            meter, started_s = agent.meter.copy(), time.perf_counter()
            agent.act(observation)
            cost = {"seconds": time.perf_counter() - started_s, **agent.meter.since(meter)}
        elif name == "practice":
            agent.act(observation, recorded)
        if name == "sleep":
            state = Path(folder) / f"night-{index}"
            state.mkdir()
            agent.save(state)
            digest, size_bytes = state_digest(state)
            kinds = {f"state_{kind}_bytes": n for kind, n in sizes_by_kind(state).items()}
            kept = {"state_digest": digest, "state_bytes": size_bytes, **kinds}
            kept["added_parameters"] = agent.added_parameters
            if index < len(scene.phases) - 1:
                agent = scene.spec.upgraded().make_agent()
                agent.load(state)
                shutil.rmtree(state)
    return Outcome(answers, cost, kept)


def _sit_morning(scene: Scene, folder: str) -> tuple[str, ...]:
    """In a fresh process: load the state of the last night and answer."""
    _block(scene.blocked)
    agent = scene.spec.upgraded().make_agent()
    (state,) = Path(folder).iterdir()
    agent.load(state)
    return _sealed_answers(agent, scene.phases[0][1])


def _sealed_answers(agent: Any, observation: Observation) -> tuple[str, ...]:
    digests = []
    answers: tuple[str, ...] = ()
    for moment in ("before", "after"):
        with tempfile.TemporaryDirectory() as folder:
            agent.save(Path(folder))
            digests.append(state_digest(Path(folder))[0])
        if moment == "before":
            answers = agent.act(observation)
    if digests[0] != digests[1]:
        raise AgentError("the agent changed its learned state during an exam")
    return answers


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

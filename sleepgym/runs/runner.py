"""The only run loop: wake, evening exam, sleep, wipe, morning exam; audited and crash-safe."""

from __future__ import annotations

import errno
import gc
import math
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sleepgym.core.agent import Agent
from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import (
    AgentError,
    BadData,
    BadRun,
    BadSetting,
    MissingData,
    SleepGymError,
    UnknownName,
)
from sleepgym.core.schedule import Step
from sleepgym.core.types import Phase
from sleepgym.runs.journal import Journal, state_digest
from sleepgym.runs.records import RunRecord, answer_lines, read_run
from sleepgym.runs.spec import RunSpec, describe
from sleepgym.runs.state import sizes_by_kind
from sleepgym.runs.workers import make_pool

Progress = Callable[[int, int, str, float | None], None]


def run(
    spec: RunSpec, out: str | Path, *, progress: Progress | None = None, nights: int | None = None
) -> RunRecord:
    """Run an agent through a stream, or go on with a run that was interrupted.

    Args:
        spec: What to run.
        out: Run directory; created, or resumed from its last finished phase.
        progress: Called after every phase with (phases done, phases in all, what, mean score).
        nights: Stop after this many further nights (the rest can be resumed later).

    Returns:
        The record read back from ``out``.

    Raises:
        BadSetting, BadData, MissingData, UnknownName: If the agent refuses its settings, the stream
            or its model's files; before the first night nothing is left in ``out``.
        SleepGymError: On bad input or an agent that breaks its contract; ``out`` stays resumable.
    """
    out = Path(out)
    if spec.audit == "process" and nights is None:
        return _run_in_processes(spec, out, progress)
    env = spec.make_env()
    env.reset(seed=spec.seed)
    meta = describe(spec, env)
    try:
        with _locked(out):
            journal = Journal(out, meta)
            if len(journal.phases) < len(env.steps):
                try:
                    _Loop(spec, env, journal, progress).go(nights)
                except (BadSetting, BadData, MissingData, UnknownName):
                    if not journal.nights:  # no run of these settings or files gets any further
                        journal.discard()
                    raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SleepGymError(f"the disk is full: free some space and resume {out}") from error
    return read_run(out)


def _run_in_processes(spec: RunSpec, out: Path, progress: Progress | None) -> RunRecord:
    """One fresh process a night: nothing but the saved state can reach the next morning."""
    while True:
        with make_pool(1) as pool:
            record = pool.submit(run, spec, out, nights=1).result()
        if progress:
            last = record.phases[-1]
            where = f"{last['phase']} of day {last['day']}"
            progress(len(record.phases), record.meta["steps"], where, last["score"])
        if record.finished:
            return record


class _Loop:
    """One walk over the phases of a stream."""

    def __init__(
        self, spec: RunSpec, env: ContinualEnv, journal: Journal, progress: Progress | None
    ) -> None:
        self.spec = spec
        self.env = env
        self.journal = journal
        self.progress = progress
        self.audited = spec.audit != "off"
        self.agent = self._wake()

    def go(self, nights: int | None) -> None:
        slept = [i for i, line in enumerate(self.journal.phases) if line["phase"] == "sleep"]
        start = slept[-1] + 1 if slept else 0
        options = {"start_step": start}
        observation, _ = self.env.reset(seed=self.spec.seed, options=options)
        until = None if nights is None else self.journal.nights + nights
        for index in range(start, len(self.env.steps)):
            if index < len(self.journal.phases):
                action = self.journal.answers_of(index)
                self._act(self.env.steps[index], observation, recorded=action)
                observation, *_ = self.env.step(action)
            else:
                observation = self._live(index, observation)
            if until is not None and self.journal.nights >= until:
                return

    def _wake(self) -> Agent:
        """A fresh agent, loaded from the last committed state if there is one."""
        with _blame(self.spec, self.journal, "while it was made"):
            agent = self.spec.make_agent()
            if self.journal.nights:
                agent.load(self.journal.state)
        return agent

    def _live(self, index: int, observation: dict[str, Any]) -> dict[str, Any]:
        step = self.env.steps[index]
        meter, started_s = self.agent.meter.copy(), time.perf_counter()
        with _blame(self.spec, self.journal, f"in {step.where}"):
            self.agent.hear(observation)  # before the seal: feedback may teach
        sealed = self._digest() if self.audited and step.phase is Phase.EXAM else None
        action = self._act(step, observation)
        cost = _cost(self.agent, meter, started_s)
        if sealed is not None and self._digest() != sealed:
            raise AgentError(
                f"agent {self.spec.agent!r} changed its learned state during {step.where}: "
                "answering must not learn"
            )
        observation, reward, _, _, info = self.env.step(action)
        phase = {"step": index, "phase": step.name, "day": step.day, "night": step.night}
        if step.phase is Phase.SLEEP:
            self._end_night(step, {**phase, "questions": 0, "missing": 0, "score": None}, cost)
        else:
            score = _mean(info)
            counts = {"questions": len(step.items), "missing": info.get("missing", 0)}
            self.journal.commit(
                {**phase, **counts, "score": score, **cost}, answer_lines(index, step, info)
            )
        if self.progress:
            score = None if step.phase is not Phase.EXAM else reward
            self.progress(index + 1, len(self.env.steps), step.where, score)
        return observation

    def _act(
        self, step: Step, observation: dict[str, Any], recorded: tuple[str, ...] | None = None
    ) -> tuple[str, ...]:
        with _blame(self.spec, self.journal, f"in {step.where}"):
            action = self.agent.act(observation, recorded)
        wanted = len(step.items)
        if len(action) != wanted or not all(isinstance(answer, str) for answer in action):
            strays = next((repr(a) for a in action if not isinstance(a, str)), None)
            gave = f"the answer {strays:.40}" if strays else f"{len(action)} answers"
            raise AgentError(
                f"agent {self.spec.agent!r} gave {gave} to {wanted} questions in {step.where}: "
                "it must give one string a question"
            )
        return action

    def _end_night(self, step: Step, phase: dict[str, Any], cost: dict[str, Any]) -> None:
        night = step.day
        log = _checked_log(self.spec, night, self.agent.night_log)
        with self.journal.scratch() as folder:
            with _blame(self.spec, self.journal, f"while saving after night {night}"):
                self.agent.save(folder)
            digest, size_bytes = state_digest(folder)
            kinds = {f"state_{kind}_bytes": n for kind, n in sizes_by_kind(folder).items()}
            spent = {
                **{f"night_{name}": value for name, value in cost.items()},
                "added_parameters": self.agent.added_parameters,
                "state_bytes": size_bytes,
            }
            ledger = {
                "night": night,
                **cost,
                "added_parameters": self.agent.added_parameters,
                "state_bytes": size_bytes,
                **kinds,
                "state_digest": digest,
                "exceeded": self.env.budget.exceeded_by(spent),
                "log": log,
            }
            self.journal.commit_night({**phase, **cost}, ledger, folder)
        if self.audited:
            del self.agent
            gc.collect()
            self.agent = self._wake()

    def _digest(self) -> str:
        with (
            self.journal.scratch() as folder,
            _blame(self.spec, self.journal, "while saving for the seal of an exam"),
        ):
            self.agent.save(folder)
            return state_digest(folder)[0]


def _cost(agent: Agent, start: Meter, started_s: float) -> dict[str, Any]:
    return {"seconds": round(time.perf_counter() - started_s, 4), **agent.meter.since(start)}


def _mean(info: Mapping[str, Any]) -> float | None:
    scores = info.get("scores", ())
    return float(sum(scores) / len(scores)) if len(scores) else None


def _checked_log(spec: RunSpec, night: int, log: Mapping[str, Any]) -> dict[str, float | None]:
    """What sleep returned, as JSON numbers; a value that is not finite becomes null."""
    checked: dict[str, float | None] = {}
    for name, value in log.items():
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise AgentError(
                f"agent {spec.agent!r} logged {name}={value!r:.40} in night {night}: not a number"
            ) from error
        checked[str(name)] = number if math.isfinite(number) else None
    return checked


@contextmanager
def _blame(spec: RunSpec, journal: Journal, where: str):
    """Turn whatever an agent raises into one line; its traceback goes to ``error.log``."""
    try:
        yield
    except (SleepGymError, KeyboardInterrupt):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        log = journal.path / "error.log"
        log.write_text(traceback.format_exc())
        message = str(error).strip().splitlines() or [""]
        raise AgentError(
            f"agent {spec.agent!r} raised {type(error).__name__} {where}: {message[0]:.200} "
            f"(traceback in {log}; the run can be resumed)"
        ) from error


@contextmanager
def _locked(out: Path):
    """Hold the run directory; a second process is refused."""
    from filelock import FileLock, Timeout

    if out.exists() and not out.is_dir():
        raise BadRun(f"{out} is a file: --out must name a directory")
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadRun(f"another process is running in {out}") from error
    try:
        yield
    finally:
        lock.release()

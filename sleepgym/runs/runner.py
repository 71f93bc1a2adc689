"""The only run loop: every phase of a stream lived, graded and committed, crash-safe."""

from __future__ import annotations

import errno
import gc
import math
import secrets
import traceback
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import (
    AgentError,
    BadData,
    BadRun,
    BadSetting,
    MissingData,
    SleepGymError,
    UnknownName,
    one_line,
)
from sleepgym.core.types import Phase
from sleepgym.runs.archive import pack_state, unpacked
from sleepgym.runs.costs.ledger import (
    Line,
    kept_after,
    night_line,
    spent_on,
    total,
    unpaid,
    whole_night,
)
from sleepgym.runs.day import DayDriver, Instance, LocalInstance, Outcome, Raised
from sleepgym.runs.journal import Journal
from sleepgym.runs.records import RunRecord, answer_lines, read_meta, read_run
from sleepgym.runs.samples import SampleLog
from sleepgym.runs.spec import RunSpec, describe
from sleepgym.runs.state import numbers_digest

Progress = Callable[[int, int, str, float | None], None]


def run(
    spec: RunSpec, out: str | Path, *, progress: Progress | None = None, nights: int | None = None
) -> RunRecord:
    """Run an agent through a stream, or go on with a run that was interrupted.

    Args:
        spec: What to run.
        out: Run directory; created, or resumed from its last finished phase.
        progress: Called after every phase with (phases done, phases in all, what, mean score).
        nights: Stop after this many further nights, before the morning that asks about the last
            (the rest can be resumed later).

    Returns:
        The record read back from ``out``.

    Raises:
        BadSetting, BadData, MissingData, UnknownName: If the agent refuses its settings, the stream
            or its model's files; before the first night nothing is left in ``out``.
        SleepGymError: On bad input or an agent that breaks its contract; ``out`` stays resumable.
    """
    out = Path(out)
    try:
        spec = _salted(spec, out)
        env = spec.make_env()
        env.reset(seed=spec.seed)
        with _blame(spec, None, "while it was described"):
            meta = describe(spec, env)
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
        if error.errno == errno.ENOSPC:
            raise SleepGymError(f"the disk is full: free some space and resume {out}") from error
        reason = error.strerror or type(error).__name__
        raise SleepGymError(f"cannot write the run to {str(out)!r:.200}: {reason}") from error
    return read_run(out)


def _salted(spec: RunSpec, out: Path) -> RunSpec:
    """The specification with the salt of the run that is there, or a new one where it needs one."""
    if spec.salt:
        return spec
    if (out / "run.json").is_file():
        return replace(spec, salt=read_meta(out).get("salt") or "")
    return spec if spec.isolation == "in-process" else replace(spec, salt=secrets.token_hex(16))


class _Loop:
    """One walk over the phases of a stream."""

    def __init__(
        self, spec: RunSpec, env: ContinualEnv, journal: Journal, progress: Progress | None
    ) -> None:
        self.spec = spec
        self.env = env
        self.journal = journal
        self.progress = progress
        self.samples = SampleLog(journal.path, len(journal.phases))
        assert env.stream is not None
        self.key = env.stream.key
        state = journal.state if journal.nights else None
        self.day = DayDriver(self._make, env.stream.key, env.budget, state, env.stream.introduction)

    def go(self, nights: int | None) -> None:
        slept = [i for i, line in enumerate(self.journal.phases) if line["phase"] == "sleep"]
        until = None if nights is None else self.journal.nights + nights
        try:
            for index in range(slept[-1] + 1 if slept else 0, len(self.env.steps)):
                if index < len(self.journal.phases):
                    self.day.skip(self.env.steps[index])
                else:
                    self._live(index)
                if until is not None and self.journal.nights >= until:
                    return
        finally:
            self.day.close()
            gc.unfreeze()  # see LocalInstance.close

    def _make(self, state: Path | None) -> Instance:
        if self.spec.isolation != "in-process":
            from sleepgym.runs.isolation.process import ProcessInstance

            digest = "" if state is None else self.journal.state_digest
            return ProcessInstance(self.spec.agent_call(), state, digest)
        if state is None:
            return LocalInstance(self.spec.make_agent, None)
        with unpacked(state, self.journal.state_digest) as copy:
            return LocalInstance(self.spec.make_agent, copy)

    def _live(self, index: int) -> None:
        step = self.env.steps[index]
        told = tuple(self.day.told)
        with _blame(self.spec, self.journal, f"in {step.where}"):
            lived = self.day.live(step)
        info = self.env.grade(step, lived.answers)
        score = _mean(info)
        phase = {"step": index, "phase": step.name, "day": step.day, "night": step.night}
        phase |= {"questions": len(step.items), "missing": 0, "score": score, **lived.cost}
        if step.phase is Phase.SLEEP:
            self._end_night(step.day, phase, lived)
        else:
            self.samples.add(index, step, self.key, told)
            self.journal.commit(phase, answer_lines(index, step, info))
        if self.progress:
            shown = score if step.phase is Phase.EXAM else None
            self.progress(index + 1, len(self.env.steps), step.where, shown)

    def _end_night(self, night: int, phase: dict[str, Any], lived: Outcome) -> None:
        log = _checked_log(self.spec, night, lived.log)
        with self.journal.scratch() as folder, TemporaryDirectory(prefix="sleepgym-") as saved:
            with _blame(self.spec, self.journal, f"while saving after night {night}"):
                declared = self.day.save(Path(saved))
                digest, _ = pack_state(Path(saved), folder)
            cost = whole_night(lived.cost, lived.setup, self.day.saving)
            kept = {**kept_after(folder, declared), "state_digest": digest}
            self._check_paid(night, cost, kept, folder)
            ledger = night_line(night, cost, kept, self.env.budget, log)
            measured = {name: cost[name] for name in phase if name in cost}
            self.journal.commit_night({**phase, **measured}, ledger, folder)
        self.day.wake(self.journal.state)

    def _check_paid(self, night: int, cost: Line, kept: Line, state: Path) -> None:
        """Numbers that changed in a night were not free.

        Raises:
            AgentError: If the meter counted nothing while this day was told and slept through.
        """
        numbers_bytes = kept["state_weights_bytes"] + kept["state_keys_bytes"]
        spent = spent_on(night, self.journal.phases) + total(cost)
        if not unpaid(numbers_bytes, True, spent):
            return
        problem = unpaid(numbers_bytes, numbers_digest(state) != self._numbers_before(), spent)
        if problem:
            raise AgentError(f"agent {self.spec.agent!r}, night {night}: {problem}")

    def _numbers_before(self) -> str:
        """Digest of the numbers in the state before this night: at birth, of a newborn's state."""
        if self.journal.nights:
            return numbers_digest(self.journal.state)
        with (
            TemporaryDirectory(prefix="sleepgym-") as folder,
            _blame(self.spec, self.journal, "while saving at birth"),
        ):
            newborn = self._make(None)
            try:
                newborn.save(Path(folder))
            finally:
                newborn.close()
            return numbers_digest(Path(folder))


def _mean(info: Mapping[str, Any]) -> float | None:
    scores = info.get("scores", ())
    return float(sum(scores) / len(scores)) if len(scores) else None


def _checked_log(spec: RunSpec, night: int, log: Mapping[str, Any]) -> dict[str, float | None]:
    """What sleep returned, as JSON numbers; a value that is not finite becomes null."""
    checked: dict[str, float | None] = {}
    for name, value in log.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            shown = f"({error})" if isinstance(value, int) else f"{value!r:.40}"
            raise AgentError(
                f"agent {spec.agent!r} logged {name!s:.40}={shown} in night {night}: not a number"
            ) from error
        checked[str(name)] = number if math.isfinite(number) else None
    return checked


@contextmanager
def _blame(spec: RunSpec, journal: Journal | None, where: str):
    """Turn whatever an agent raises into one line; its traceback goes to ``error.log``."""
    try:
        yield
    except AgentError as error:
        place = "" if where in str(error) else f" {where}"
        raise AgentError(one_line(f"agent {spec.agent!r}{place}: {error}")) from error
    except (SleepGymError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        kind, trace = type(error).__name__, traceback.format_exc()
        if isinstance(error, Raised):
            kind, trace = error.kind, error.trace
        message = (str(error).strip().splitlines() or [""])[0]
        found = one_line(f"agent {spec.agent!r} raised {kind} {where}: {message:.200}")
        if journal is None:
            raise AgentError(found) from error
        log = journal.path / "error.log"
        log.write_text(trace, encoding="utf-8", errors="replace")
        raise AgentError(f"{found} (traceback in {log}; the run can be resumed)") from error


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

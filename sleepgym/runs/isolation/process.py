"""An instance of an agent in a process of its own: started, asked, ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sleepgym.core.budget import Budget, Meter
from sleepgym.core.errors import AgentError, SleepGymError
from sleepgym.core.settings import plain
from sleepgym.core.types import Experience, Introduction, Question
from sleepgym.runs.archive import unpack_state
from sleepgym.runs.day import Instance, Raised, checked_meter, checked_parameters
from sleepgym.runs.isolation.call import AgentCall
from sleepgym.runs.isolation.connection import START_LIMIT_S
from sleepgym.runs.isolation.messages import (
    following,
    plain_experiences,
    plain_introduction,
    plain_questions,
)
from sleepgym.runs.isolation.starters import starter_of

__all__ = ["AgentCall", "ProcessInstance", "describe_agent"]

_WATCHED = 5  # of the first instances is asked what they imported: one of every kind of phase
_LAST_WORDS_S = 10.0
_LIBRARIES = {"torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers"}
_LIBRARIES |= {"numpy", "safetensors", "pydantic", "jinja2", "bm25s"}


class ProcessInstance(Instance):
    """An instance in a process of its own; see :class:`sleepgym.runs.day.Instance`."""

    def __init__(self, call: AgentCall, state: Path | None, digest: str = "") -> None:
        """Start a process, and make an agent there.

        Args:
            call: Which agent.
            state: A committed state to load, None at birth.
            digest: What its digest must be.
        """
        self.call = call
        self._counts = Meter()
        self._process = starter_of(call).start(call)
        try:
            if state is not None:
                unpack_state(state, digest, self._process.exchange / "state")
            self._make(state is not None)
        except BaseException:
            self.close()
            raise

    @property
    def counts(self) -> Meter:
        """What its last reply said."""
        return self._counts.copy()

    @property
    def processor_s(self) -> float | None:
        """That of its process and of all that it started."""
        return self._process.processor_s

    def introduce(self, introduction: Introduction) -> None:
        """Send what the task says first."""
        self._ask("introduce", plain_introduction(introduction))

    def tell(self, experiences: Sequence[Experience]) -> None:
        """Send what was read and practised."""
        if experiences:
            plain = plain_experiences(experiences, later=True)
            self._ask("tell", plain, following(experiences))

    def answer(self, questions: Sequence[Question]) -> tuple[str, ...]:
        """Send questions; the answers that came back."""
        answers = self._ask("answer", plain_questions(questions))
        if not isinstance(answers, list):
            raise AgentError("its answers are no list")
        return tuple(answers)

    def sleep(self, number: int, budget: Budget) -> Mapping[str, Any]:
        """Send the night's number and budget; the log that came back."""
        log = self._ask("sleep", {"number": number, "budget": plain(budget)})
        if not isinstance(log, dict):
            raise AgentError("its log is no mapping")
        return log

    def save(self, folder: Path) -> int:
        """Let it save, and take what it saved."""
        added = self._ask("save", self._process.inside("saved"))
        added = checked_parameters(added)
        for path in (self._process.exchange / "saved").iterdir():
            shutil.move(path, folder)
        return added

    def close(self) -> None:
        """End the process, and all that it started."""
        if self._process.kill is not None and starter_of(self.call).watched < _WATCHED:
            with suppress(SleepGymError, Raised):
                _preload(self.call, self._process.ask("modules", None, _LAST_WORDS_S).get("result"))
        self._process.end()

    def _make(self, loads: bool) -> None:
        told = {
            **self.call.named(),
            "seed": self.call.seed,
            "model": self._process.model,
            "prompt": self.call.prompt,
            "state": self._process.inside("state") if loads else None,
        }
        self._ask("make", told)

    def _ask(self, verb: str, told: Any, more: Iterable[str] = ()) -> Any:
        reply = self._process.ask(verb, told, more=more)
        self._counts = checked_meter(reply.get("counts"))
        return reply.get("result")


def describe_agent(call: AgentCall) -> dict[str, Any]:
    """An agent's ``settings``, whether it ``uses_model``, and what it says of a ``served`` one.

    The agent is imported in a process of its own.
    """
    process = starter_of(call).start(call)
    try:
        limit_s = max(START_LIMIT_S, call.limit_s)
        told = {**call.named(), "model": process.model, "prompt": call.prompt}
        found = process.ask("describe", told, limit_s).get("result")
    finally:
        process.end()
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise AgentError("it did not describe its settings")
    _preload(call, found.get("modules"))
    return {
        "settings": found["settings"],
        "uses_model": bool(found.get("uses_model")),
        "served": found.get("served"),
    }


def _preload(call: AgentCall, modules: Any) -> None:
    """Let the libraries that an instance has imported be there for the next one."""
    starter = starter_of(call)
    starter.watched += 1
    names = [name for name in modules if isinstance(name, str)] if isinstance(modules, list) else []
    starter.expect([name for name in names if name.split(".")[0] in _LIBRARIES])

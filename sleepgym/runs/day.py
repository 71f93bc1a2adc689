"""The one driver of a day: who is told what, who sits the exams and who sleeps.

An agent lives through a stream as a row of *instances*. Each is made for one purpose, loads the
last committed state and is told the day so far:

- the day's instance reads, practises, sits the evening exam, and is dropped;
- the night's instance is told the same day, sleeps, saves, and is dropped;
- the morning's instance loads what was saved, sits the morning exam, and is dropped.

So the instance that sleeps has answered nothing: it never sees a question of an exam, and whatever
``answer`` changes is gone. There is never more than one instance in memory.
"""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sleepgym.core.agent import Agent, tell
from sleepgym.core.budget import Budget, Meter, Night
from sleepgym.core.errors import AgentError
from sleepgym.core.schedule import Step, experience_of
from sleepgym.core.types import AnswerKey, Experience, Introduction, Phase, Question, plain_text
from sleepgym.runs.costs.clocks import gpu_s, processor_s
from sleepgym.runs.models.base_model import is_served

MAX_ANSWER_CHARACTERS = 100_000
MOST_COUNTED = 1e30  # tokens, operations, parameters: more than there will be
NOTHING = Introduction()


class Raised(Exception):
    """What an agent raised in its process; ``str`` is its traceback."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class Instance(ABC):
    """An agent made for one purpose, in this process or in another."""

    @property
    @abstractmethod
    def counts(self) -> Meter:
        """What it has counted since it was made."""

    @property
    @abstractmethod
    def processor_s(self) -> float | None:
        """Processor seconds since it was made, its children's too; None where nobody tells."""

    @abstractmethod
    def introduce(self, introduction: Introduction) -> None:
        """Tell it what the task says before anything else."""

    @abstractmethod
    def tell(self, experiences: Sequence[Experience]) -> None:
        """Let it read and practise."""

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> tuple[str, ...]:
        """Its answers, as they came."""

    @abstractmethod
    def sleep(self, number: int, budget: Budget) -> Mapping[str, Any]:
        """Let it sleep the night ``number``; what it logged."""

    @abstractmethod
    def save(self, folder: Path) -> int:
        """Let it save into an empty folder; the parameters that it says it added."""

    @abstractmethod
    def close(self) -> None:
        """Drop it."""


Make = Callable[[Path | None], Instance]


class LocalInstance(Instance):
    """An instance in this process."""

    def __init__(self, make: Callable[[], Agent], state: Path | None) -> None:
        self._made_s, self._processor_s = time.perf_counter(), processor_s()
        self.agent = make()
        if state is not None:
            self.agent.load(state)

    @property
    def counts(self) -> Meter:
        """What the agent's meter says, whatever class it is of."""
        return checked_meter([getattr(self.agent.meter, name, None) for name in Meter.FIELDS])

    @property
    def processor_s(self) -> float:
        """That of this process."""
        return processor_s() - self._processor_s

    def introduce(self, introduction: Introduction) -> None:
        """See :meth:`sleepgym.Agent.introduce`."""
        self.agent.introduce(introduction)

    def tell(self, experiences: Sequence[Experience]) -> None:
        """See :func:`sleepgym.core.agent.tell`."""
        tell(self.agent, experiences)

    def answer(self, questions: Sequence[Question]) -> tuple[str, ...]:
        """See :meth:`sleepgym.Agent.answer`.

        Raises:
            AgentError: If they come in what has no order, or in none at all.
        """
        answers: Any = self.agent.answer(questions)
        if isinstance(answers, str | Set | Mapping) or not isinstance(answers, Iterable):
            raise AgentError(
                f"it gave {answers!r:.40} to {len(questions)} questions: "
                "it must give a list of strings"
            )
        return tuple(answers)

    def sleep(self, number: int, budget: Budget) -> Mapping[str, Any]:
        """See :meth:`sleepgym.Agent.sleep`. The budget covers all that it did since it was made."""
        night = Night(number, budget, self.agent.seed, self.agent.meter)
        night.started, night.started_s = Meter(), self._made_s
        return dict(self.agent.sleep(night) or {})

    def save(self, folder: Path) -> int:
        """See :meth:`sleepgym.Agent.save`."""
        self.agent.save(folder)
        return checked_parameters(self.agent.added_parameters)

    def close(self) -> None:
        """Free what it held: the memory of a model at once, as it may stand in a circle."""
        small = self.agent.model == "scratch" or is_served(self.agent.model)
        holds_model = self.agent.uses_model and not small
        del self.agent
        if holds_model:
            gc.collect()
            gc.freeze()  # what is left is not gone through again until the run has ended


@dataclass(frozen=True)
class Outcome:
    """What a phase gave and cost.

    Attributes:
        answers: One a question.
        log: What ``sleep`` returned.
        cost: ``seconds`` and the counters of the meter, of the phase itself; ``setup_seconds``, of
            making the instance, loading and telling it the day so far, 0 where it was there;
            ``processor_seconds`` and ``gpu_seconds``, of both. Seconds are measured, rounded to
            1e-4; those of the processor and of GPUs are None where nobody tells.
        setup: The counters of the meter before the phase, of an instance that was made for it.
    """

    answers: tuple[str, ...] = ()
    log: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)


class _Watch:
    """What happens from now on: wall-clock, processor and GPU time, and the meter's counts."""

    def __init__(self, instance: Instance | None) -> None:
        self.counts = instance.counts if instance else Meter()
        self._processor_s = instance.processor_s if instance else 0.0
        self._gpu_s = gpu_s()
        self._started_s = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return round(time.perf_counter() - self._started_s, 4)

    def counted(self, now: Meter) -> dict[str, Any]:
        """What the meter counted until now.

        Raises:
            AgentError: If it ran backwards.
        """
        counts = now.since(self.counts)
        for name, count in counts.items():
            if count < 0:
                raise AgentError(f"its meter counted {count:g} {name}: counters only grow")
        return counts

    def measured(self, instance: Instance) -> dict[str, float | None]:
        """Processor and GPU seconds so far."""
        busy = {
            "processor_seconds": (instance.processor_s, self._processor_s),
            "gpu_seconds": (gpu_s(), self._gpu_s),
        }
        return {
            name: None if now is None or start is None else round(max(0.0, now - start), 4)
            for name, (now, start) in busy.items()
        }


class DayDriver:
    """Lives the phases of a stream, one by one.

    Attributes:
        told: What this day has taught so far.
        saving: What the last :meth:`save` cost: ``seconds``, ``processor_seconds``,
            ``gpu_seconds`` and the counters of the meter.
    """

    def __init__(
        self,
        make: Make,
        key: AnswerKey,
        budget: Budget,
        state: Path | None,
        introduction: Introduction = NOTHING,
    ) -> None:
        """Begin a day.

        Args:
            make: Makes an instance, loaded from a saved state where one is given.
            key: Holds the feedback of practice.
            budget: Of each night.
            state: What the agent remembers; None at birth.
            introduction: What every instance is told first.
        """
        self.told: list[Experience] = []
        self.saving: Mapping[str, Any] = {}
        self._make = make
        self._key = key
        self._budget = budget
        self._introduction = introduction
        self._state = state
        self._instance: Instance | None = None
        self._has_answered = False

    def live(self, step: Step) -> Outcome:
        """Live one phase. After a SLEEP, :meth:`save` and :meth:`wake` follow.

        Raises:
            AgentError: If there is not one string an answer, or one is far too long.
        """
        if step.phase is Phase.SLEEP and self._has_answered:
            self.close()
        whole = _Watch(self._instance)
        instance = self._instance or self._begin()
        watch, setup_s = _Watch(instance), whole.seconds
        answers: tuple[str, ...] = ()
        log: Mapping[str, Any] = {}
        if step.phase is Phase.SLEEP:
            log = instance.sleep(step.day, self._budget)
        elif step.phase is not Phase.STUDY:
            self._has_answered = True
            answers = checked_answers(instance.answer(step.questions), step)
        if step.phase in (Phase.STUDY, Phase.PRACTICE):
            instance.tell([experience_of(step, self._key)])
            self.skip(step)
        cost = {"seconds": watch.seconds, **watch.counted(instance.counts)}
        cost |= {"setup_seconds": setup_s, **whole.measured(instance)}
        if step.phase is Phase.EXAM:
            self.close()
        return Outcome(answers, log, cost, whole.counted(watch.counts))

    def skip(self, step: Step) -> None:
        """Take a phase as lived: what it taught will be told to the next instance."""
        if step.phase in (Phase.STUDY, Phase.PRACTICE):
            self.told.append(experience_of(step, self._key))

    def save(self, folder: Path) -> int:
        """Save the instance that slept, and drop it; the parameters that it says it added."""
        assert self._instance is not None
        watch = _Watch(self._instance)
        added = self._instance.save(folder)
        counted = watch.counted(self._instance.counts)
        self.saving = {"seconds": watch.seconds, **counted, **watch.measured(self._instance)}
        self.close()
        return added

    def wake(self, state: Path) -> None:
        """Begin the next day from a saved state: the context is gone."""
        self.close()
        self.told = []
        self._state = state

    def close(self) -> None:
        """Drop the instance there is."""
        if self._instance is not None:
            self._instance.close()
        self._instance, self._has_answered = None, False

    def _begin(self) -> Instance:
        self._instance = self._make(self._state)
        if self._introduction:
            self._instance.introduce(self._introduction)
        self._instance.tell(self.told)
        return self._instance


def checked_meter(counts: Any) -> Meter:
    """Counters as an agent tells them.

    Raises:
        AgentError: If one is no number from 0 to ``MOST_COUNTED``.
    """
    told: list[Any] = (
        counts if isinstance(counts, list) and len(counts) == len(Meter.FIELDS) else [None]
    )
    if not all(isinstance(n, int | float | np.number) and 0 <= n <= MOST_COUNTED for n in told):
        raise AgentError(
            f"its meter says {counts!r:.80}: counters are numbers from 0 to {MOST_COUNTED:g}"
        )
    return Meter(*(n.item() if isinstance(n, np.generic) else n for n in told))


def checked_parameters(added: Any) -> int:
    """``added_parameters`` as an agent tells it.

    Raises:
        AgentError: If it is no whole number from 0 to ``MOST_COUNTED``.
    """
    if not isinstance(added, int | np.integer) or not 0 <= added <= MOST_COUNTED:
        raise AgentError(
            f"added_parameters={added!r:.40}: must be a whole number from 0 to {MOST_COUNTED:g}"
        )
    return int(added)


def checked_answers(answers: Sequence[Any], step: Step) -> tuple[str, ...]:
    """Answers as plain text, one a question.

    Raises:
        AgentError: If they are too few or too many, no strings, or far too long.
    """
    wanted = len(step.items)
    strays = next((repr(a) for a in answers if not isinstance(a, str)), None)
    if len(answers) != wanted or strays:
        gave = f"the answer {strays:.40}" if strays else f"{len(answers)} answers"
        raise AgentError(
            f"it gave {gave} to {wanted} questions in {step.where}: "
            "it must give one string a question"
        )
    longest = max(map(len, answers), default=0)
    if longest > MAX_ANSWER_CHARACTERS:
        raise AgentError(too_long(longest))
    return tuple(map(plain_text, answers))


def too_long(characters: int) -> str:
    """What to say of an answer that nobody would read."""
    return f"it gave an answer of {characters} characters: {MAX_ANSWER_CHARACTERS} is the most"

"""The contract of an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sleepgym.core.budget import BUDGET_NAMES, Budget, Meter, Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.settings import Settings
from sleepgym.core.types import Document, Experience, Introduction, Phase, Question


@dataclass(frozen=True)
class NoSettings(Settings):
    """The configuration of an agent that has nothing to set."""


class Agent(ABC):
    """Reads and answers while awake, consolidates while asleep, and forgets what it does not save.

    Subclasses name a frozen dataclass ``Config`` and implement the abstract methods. The other
    class attributes describe the method to pages, boards and searches, and may stay as they are.
    Whatever is random is derived from ``self.seed`` (see :mod:`sleepgym.core.rng`), never drawn
    from a generator that lives on: a run resumed after a crash must make the same choices.

    Attributes:
        Config: Frozen dataclass of the agent's settings; its docstring documents each field.
        uses_model: Whether the agent loads the language model it is given.
        title: Name on boards and in tables; empty: the name it is registered under.
        sources: Publications that the method is from, in a few words.
        checked: What the implementation was compared with; empty: nothing.
        search_space: Setting -> the values that a search draws from; empty: nothing to tune.
        config: This agent's settings.
        seed: Seed of this run.
        model: ``"embedded"``, a path, a hub id, ``openai:URL#NAME`` or ``"scratch"``.
        meter: Counts tokens and operations; the substrate charges it.
        night_log: What the last ``sleep`` returned.
    """

    Config: ClassVar[type] = NoSettings
    uses_model: ClassVar[bool] = False
    title: ClassVar[str] = ""
    sources: ClassVar[str] = ""
    checked: ClassVar[str] = ""
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {}

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        self.config = self.Config() if config is None else config
        self.seed = seed
        self.model = model
        self.meter = Meter()
        self.night_log: dict[str, float] = {}
        self._awaiting_feedback: tuple[Question, ...] = ()

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[str]:
        """One answer a question, in order. Must not change what ``save`` would write."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write everything that will be remembered, and nothing else, into the folder ``path``."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Become the agent that wrote ``path``; called on a fresh instance."""

    def introduce(self, introduction: Introduction) -> None:
        """Take in what the task says before anything else; every instance is told it first.

        Does nothing unless overridden; it is no part of what is remembered.
        """

    def study(self, documents: Sequence[Document]) -> None:
        """Wake: read. Does nothing unless overridden."""

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Wake: the right answers to a round of practice. Does nothing unless overridden."""

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Consolidate within the budget, wipe the context, return what to log."""
        return {}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """What an agent with these settings would do with the model in a stream; nothing here."""
        return Cost()

    @classmethod
    def served_model(cls, model: str) -> Mapping[str, Any] | None:
        """What a run records of a model behind a server; None for one whose files are digested.

        Args:
            model: The run's ``--model``.

        Raises:
            SleepGymError: If the agent cannot use it.
        """
        return None

    @property
    def added_parameters(self) -> int:
        """Parameters kept beyond those of the base model."""
        return 0

    def act(self, observation: Mapping[str, Any]) -> tuple[str, ...]:
        """Act in any Gymnasium loop: dispatch an observation on its phase.

        Args:
            observation: An observation of :class:`sleepgym.ContinualEnv`.

        Returns:
            The action: one answer a question; empty in STUDY and SLEEP.
        """
        introduction = observed_introduction(observation)
        if introduction:
            self.introduce(introduction)
        if self._awaiting_feedback and observation["feedback"]:
            practised, self._awaiting_feedback = self._awaiting_feedback, ()
            self.practice(practised, observation["feedback"])
        phase = Phase(int(observation["phase"]))
        if phase is Phase.STUDY:
            pairs = zip(observation["documents"], observation["titles"], strict=True)
            self.study(tuple(Document(text, title) for text, title in pairs))
            return ()
        if phase is Phase.SLEEP:
            limits = dict(zip(BUDGET_NAMES, observation["budget"].tolist(), strict=True))
            budget = Budget(**{k: v for k, v in limits.items() if v >= 0})
            night = Night(int(observation["day"]), budget, self.seed, self.meter)
            self.night_log = dict(self.sleep(night) or {})
            return ()
        questions = observed_questions(observation)
        if phase is Phase.PRACTICE:
            self._awaiting_feedback = questions
        return tuple(self.answer(questions))


def observed_introduction(observation: Mapping[str, Any]) -> Introduction:
    """The introduction in an observation; an empty one after the first."""
    return Introduction(
        observation["instruction"],
        tuple(
            Experience(
                tuple(map(Document, shown["documents"], shown["titles"])),
                tuple(map(Question, shown["questions"])),
                tuple(shown["answers"]),
            )
            for shown in observation["exemplars"]
        ),
    )


def tell(agent: Agent, experiences: Iterable[Experience]) -> None:
    """Let an agent read and practise, in order."""
    for experience in experiences:
        if experience.documents:
            agent.study(experience.documents)
        if experience.questions:
            agent.practice(experience.questions, experience.answers)


def observed_questions(observation: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions of an observation as an agent sees them."""
    pairs = zip(observation["questions"], observation["choices"], strict=True)
    return tuple(Question(text, choices) for text, choices in pairs)

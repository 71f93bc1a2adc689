"""Skill batteries: what an agent can do while awake, scene by scene, before or after its nights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sleepgym.core.agent import Agent, tell
from sleepgym.core.budget import Budget, Night
from sleepgym.core.types import Document, Experience, Question

DREAM_CHAINS = 4


@dataclass(frozen=True)
class Scene:
    """One context and what is asked in it.

    Attributes:
        documents: Read first.
        demonstrations: Questions with their answers, read next.
        questions: Asked then.
        answers: Gold answers, one a question.
    """

    documents: tuple[Document, ...]
    demonstrations: tuple[tuple[Question, str], ...]
    questions: tuple[Question, ...]
    answers: tuple[str, ...]


class Battery(ABC):
    """Cells of scenes; every cell is one skill."""

    cells: Sequence[str]

    @abstractmethod
    def draw(self, cell: str, seed: int, count: int) -> list[Scene]:
        """Scenes with ``count`` questions in all; the same for the same arguments."""

    @abstractmethod
    def dream_scenes(
        self, seed: int, count: int
    ) -> Iterator[tuple[Scene, Callable[[str, str], str]]]:
        """Scenes to dream about, each with a judge of (question, answer): true, false, foreign."""


@dataclass(frozen=True)
class Skill:
    """The outcome of one cell.

    Attributes:
        cell: Its name.
        accuracy: Share of questions answered exactly.
        questions: How many.
        agrees: Questions on which forced decoding and real decoding agree; None if not measured.
    """

    cell: str
    accuracy: float
    questions: int
    agrees: int | None = None


def measure(agent: Agent, battery: Battery, cell: str, seed: int, count: int) -> Skill:
    """Exact match of an agent on one cell, by real greedy decoding.

    Where the agent can tell by a teacher-forced pass whether it would recite an answer, both are
    compared on every question: that calibrates scores by forced decoding. Between scenes the agent
    sleeps a night in which it may spend nothing: the context goes, but an agent that keeps text of
    its own accord (``retrieval``, ``nearest``) takes earlier scenes along.
    """
    right = agrees = total = 0
    matches_greedy = getattr(agent, "matches_greedy", None)
    for scene in battery.draw(cell, seed, count):
        _enter(agent, scene)
        given = agent.answer(scene.questions)
        verdicts = [a == gold for a, gold in zip(given, scene.answers, strict=True)]
        if matches_greedy:
            forced = matches_greedy(scene.questions, scene.answers)
            agrees += sum(f == v for f, v in zip(forced, verdicts, strict=True))
        right += sum(verdicts)
        total += len(verdicts)
        _leave(agent)
    return Skill(cell, right / total, total, agrees if matches_greedy else None)


def measure_dreams(agent: Any, battery: Battery, seed: int, scenes: int) -> dict[str, float]:
    """Shares of true, false and foreign items among those the agent dreams, and their number."""
    counts = {"true": 0, "false": 0, "foreign": 0}
    for number, (scene, judge) in enumerate(battery.dream_scenes(seed, scenes)):
        _enter(agent, scene)
        for question, answer in agent.generate_qa(DREAM_CHAINS, seed=number):
            counts[judge(question, answer)] += 1
        _leave(agent)
    total = sum(counts.values())
    shares = {name: count / total if total else 0.0 for name, count in counts.items()}
    return {**shares, "items": float(total)}


def _enter(agent: Agent, scene: Scene) -> None:
    questions = tuple(question for question, _ in scene.demonstrations)
    answers = tuple(answer for _, answer in scene.demonstrations)
    tell(agent, [Experience(scene.documents, questions, answers)])


def _leave(agent: Agent) -> None:
    """Wipe the context by a night in which nothing may be spent."""
    budget = Budget(night_train_tokens=0, night_generated_tokens=0, night_flops=0)
    agent.sleep(Night(1, budget, agent.seed, agent.meter))

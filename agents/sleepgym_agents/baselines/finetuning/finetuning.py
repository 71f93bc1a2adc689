"""What the agents have in common that train on the day's raw material."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.training.optimise import Example, TrainingSettings


@dataclass(frozen=True)
class FinetuningSettings(TrainingSettings, InContextSettings):
    """Settings of the day's context and of the night's training."""


class Finetuning(InContext):
    """Reads in context by day; at night trains on what it read. Subclasses say how.

    Documents are learned as text, every token counting; practised questions are learned as
    question -> answer, only answer and stop marker counting.

    Attributes:
        day: The day's material, an example each document and practised question.
    """

    Config: ClassVar[type] = FinetuningSettings

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.day: list[Example] = []

    @abstractmethod
    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Train on the day's examples, at least one; return what to log."""

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As in context; and the day is trained on, epoch by epoch."""
        return super().estimate(config, scale) + Cost(trained=config.epochs * scale.day_tokens)

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and keep them for the night."""
        super().study(documents)
        self.day += [document_example(self.lm.prompter, document) for document in documents]

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them for the night."""
        super().practice(questions, answers)
        for question, answer in zip(questions, answers, strict=True):
            self.day.append(answer_example(self.lm.prompter, question.text, answer))

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train on the day, then forget its text."""
        day, self.day = self.day, []
        log = self.learn(day, night) if day else {}
        self.forget()
        return log


def document_example(prompter: Prompter, document: Document) -> Example:
    """A document as text to learn: every token counts."""
    return Example.joined((prompter.document(document), 1.0))


def answer_example(prompter: Prompter, question: str, answer: str) -> Example:
    """A question with its answer to learn: answer and stop marker count."""
    return Example.joined((prompter.question(question), 0.0), (prompter.answer(answer), 1.0))


def daily_steps(settings: TrainingSettings, scale: Scale) -> float:
    """Optimiser steps of one epoch over an average day of a stream."""
    items = (scale.documents + scale.practised) / scale.days / settings.items_per_sequence
    tokens = scale.day_tokens / scale.days / settings.sequence_tokens
    return max(1.0, max(items, tokens) / settings.batch_size)

"""The agent that replays old texts while it learns new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.finetuning.finetuning import (
    Finetuning,
    FinetuningSettings,
    answer_example,
    document_example,
)
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.stores.reservoir import Reservoir
from sleepgym_agents.stores.text_store import Note
from sleepgym_agents.training.optimise import Example, learned, optimise, plan


@dataclass(frozen=True)
class ReplaySettings(FinetuningSettings):
    """Settings of :class:`Replay`: those of the other fine-tuning agents, and the buffer's.

    Attributes:
        store_bytes: Size of the buffer of raw text.
        replayed: Items drawn from the buffer for each of the day's items, in every epoch.
    """

    store_bytes: Annotated[int, Ge(0)] = 20_000
    replayed: Annotated[float, Ge(0)] = 1.0


class Replay(Finetuning):
    """Fine-tunes all weights on the day, mixed with a uniform sample of all days before.

    Experience replay with reservoir sampling (Rolnick et al. 2019; Chaudhry et al. 2019, "On tiny
    episodic memories in continual learning"): each epoch adds as many items from the buffer as the
    day has, drawn anew. The day is offered to the buffer after its night. The saved state is all
    weights and the buffer, which is text.

    Departures:
        1. The buffer's size is counted in bytes, because items differ in length.
        2. Old and new items may share a training sequence.
    """

    Config: ClassVar[type] = ReplaySettings
    title: ClassVar[str] = "Experience replay"
    sources: ClassVar[str] = "Rolnick et al. 2019; Chaudhry et al. 2019; Vitter 1985"
    checked: ClassVar[str] = (
        "property: the buffer equals an offline draw, never over budget, uniform (chi-squared)"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "batch_size": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
        "replayed": [0.5, 1.0, 2.0, 4.0],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed)
        self.buffer = Reservoir(self.config.store_bytes, derive_seed(seed, "buffer"))
        self.notes: list[Note] = []

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and keep them for the night."""
        super().study(documents)
        self.notes.extend(Note(document.text, document.title) for document in documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them for the night."""
        super().practice(questions, answers)
        pairs = zip(questions, answers, strict=True)
        self.notes.extend(Note(question.text, answer=answer) for question, answer in pairs)

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Train on the day and on the buffer."""
        rng = derive_rng(night.derive_seed("order"))
        log = optimise(self.lm, self._steps(examples, rng), self.config, night, capture=True)
        self.weights.learned |= learned(log)
        return log

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train on the day and on the buffer, then offer the day to the buffer."""
        log = super().sleep(night)
        for note in self.notes:
            self.buffer.offer(note)
        self.notes = []
        return {**log, "buffer_items": float(len(self.buffer.entries))}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As fine-tuning; and old items in every epoch but those of the first day."""
        old = config.replayed * (scale.days - 1) / scale.days
        added = Cost(trained=old * config.epochs * scale.day_tokens)
        return super().estimate(config, scale) + added

    def save(self, path: Path) -> None:
        """Write the weights and the buffer."""
        super().save(path)
        self.buffer.save(path)

    def load(self, path: Path) -> None:
        """Read the weights and the buffer."""
        super().load(path)
        self.buffer.load(path)

    def _steps(self, examples: Sequence[Example], rng: np.random.Generator) -> list[list[Example]]:
        """The batches of a night: every epoch draws from the buffer anew."""
        old = [self._example(entry.note) for entry in self.buffer.entries]
        count = min(len(old), round(self.config.replayed * len(examples)))
        once = replace(self.config, epochs=1)
        steps: list[list[Example]] = []
        for _ in range(self.config.epochs):
            drawn = [old[i] for i in rng.choice(len(old), count, replace=False)] if count else []
            steps.extend(plan(self.lm, [*examples, *drawn], once, rng))
        return steps

    def _example(self, note: Note) -> Example:
        prompter = self.lm.prompter
        if note.answer is None:
            return document_example(prompter, Document(note.text, note.title))
        return answer_example(prompter, note.text, note.answer)

"""The agent that replays old texts while it learns new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.finetuning.naive import Naive, NaiveSettings
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.stores.reservoir import Reservoir
from sleepgym_agents.stores.text_store import Note
from sleepgym_agents.training.optimise import Example, optimise, plan


@dataclass(frozen=True)
class ReplaySettings(NaiveSettings):
    """Settings of :class:`Replay`: those of :class:`Naive`, and the buffer's.

    Attributes:
        store_bytes: Size of the buffer of raw text.
        replayed: Items drawn from the buffer for each of the day's items, in every epoch.
    """

    store_bytes: Annotated[int, Ge(0)] = 20_000
    replayed: Annotated[float, Ge(0)] = 1.0


class Replay(Naive):
    """Fine-tunes as :class:`Naive` on the day, mixed with a uniform sample of all days before.

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
        self.buffer = Reservoir(self.config.store_bytes, derive_seed(seed, "buffer"))
        self.met: list[Note] = []

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and lay them by for the night."""
        super().study(documents)
        self.met.extend(Note(document.text, document.title) for document in documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and lay them by for the night."""
        super().practice(questions, answers)
        pairs = zip(questions, answers, strict=True)
        self.met.extend(Note(question.text, answer=answer) for question, answer in pairs)

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train on the day and on the buffer, then offer the day to the buffer."""
        log: dict[str, float] = {}
        if self.day:
            rng = derive_rng(night.derive_seed("order"))
            log = optimise(self.lm, self._steps(rng), self.config, night)
            self.learned |= log["steps"] > 0 and "nan_loss" not in log
        for note in self.met:
            self.buffer.offer(note)
        self.day, self.met = [], []
        log = {**log, "buffer_items": float(len(self.buffer.tickets))}
        return {**log, **InContext.sleep(self, night)}

    def save(self, path: Path) -> None:
        """Write the weights and the buffer."""
        super().save(path)
        self.buffer.save(path)

    def load(self, path: Path) -> None:
        """Read the weights and the buffer."""
        super().load(path)
        self.buffer.load(path)

    def _steps(self, rng: np.random.Generator) -> list[list[Example]]:
        """The batches of a night: every epoch draws from the buffer anew."""
        old = [self._example(ticket.note) for ticket in self.buffer.tickets]
        count = min(len(old), round(self.config.replayed * len(self.day)))
        once = replace(self.config, epochs=1)
        steps: list[list[Example]] = []
        for _ in range(self.config.epochs):
            drawn = [old[i] for i in rng.choice(len(old), count, replace=False)] if count else []
            steps.extend(plan(self.lm, [*self.day, *drawn], once, rng))
        return steps

    def _example(self, note: Note) -> Example:
        prompter = self.lm.prompter
        if note.answer is None:
            return Example.joined((prompter.document(Document(note.text, note.title)), 1.0))
        parts = ((prompter.question(note.text), 0.0), (prompter.answer(note.answer), 1.0))
        return Example.joined(*parts)

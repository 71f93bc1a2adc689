"""The agent that fine-tunes on the day and forgets the days before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sleepgym import Document, Night, Question
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.lm.checkpoints import load_weights, save_weights
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise, plan


@dataclass(frozen=True)
class NaiveSettings(TrainingSettings, InContextSettings):
    """Settings of :class:`Naive`: those of the day's context and of the night's training."""


class Naive(InContext):
    """Fine-tunes all weights every night on the day's raw material; by day it reads in context.

    The sequential fine-tuning baseline of continual learning (and the "train on passage" baseline
    of SEAL, Zweiger et al. 2025). Documents are learned as text, every token counting; practised
    questions are learned as question -> answer, only answer and stop marker counting. The saved
    state is all weights; before the first night with material it is empty.

    Departures:
        1. Several documents or questions are chained into one sequence, so that the model does not
           learn to stop after one.
        2. SEAL trains a LoRA for every passage; this trains all weights (see ``naive-lora``).
        3. On a GPU the weights of a large model, and so the training, are in bfloat16.
    """

    Config: ClassVar[type] = NaiveSettings
    title: ClassVar[str] = "Fine-tuning"
    sources: ClassVar[str] = "SEAL's baseline, Zweiger et al. 2025"
    checked: ClassVar[str] = (
        "loss equals TRL's SFTTrainer (`tests/agents/training/test_training.py`)"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "batch_size": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
    }
    saved: ClassVar[str] = ""  # parameters with this in their name make up the state

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.day: list[Example] = []
        self.learned = False

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and lay them by for the night."""
        super().study(documents)
        ids = (self.lm.prompter.document(document) for document in documents)
        self.day.extend(Example.joined((part, 1.0)) for part in ids)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and lay them by for the night."""
        super().practice(questions, answers)
        prompter = self.lm.prompter
        for question, answer in zip(questions, answers, strict=True):
            parts = ((prompter.question(question.text), 0.0), (prompter.answer(answer), 1.0))
            self.day.append(Example.joined(*parts))

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train on the day, then forget its text."""
        log: dict[str, float] = {}
        if self.day:
            self.prepare()
            rng = derive_rng(night.derive_seed("order"))
            log = optimise(self.lm, plan(self.lm, self.day, self.config, rng), self.config, night)
            self.learned |= log["steps"] > 0 and "nan_loss" not in log
        self.day = []
        return {**log, **super().sleep(night)}

    def prepare(self) -> None:
        """Make ready what is trained; called before training and before loading."""

    def save(self, path: Path) -> None:
        """Write the weights."""
        if self.learned:
            save_weights(self.lm.model, path / "weights.safetensors", self.saved)

    def load(self, path: Path) -> None:
        """Read the weights."""
        if (path / "weights.safetensors").is_file():
            self.prepare()
            load_weights(self.lm.model, path / "weights.safetensors", self.saved)
            self.learned = True

"""What the paper's agents have in common: a day in context, and a night of stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.experts.checkpoint import load_memory, save_memory
from sleepgym_agents.experts.content_answers import route_by_content
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.sleep.consolidation.consolidation_data import Stage
from sleepgym_agents.sleep.consolidation.documents import consolidate_day
from sleepgym_agents.sleep.consolidation.levels import merge_due_levels
from sleepgym_agents.sleep.estimates import estimate_nights
from sleepgym_agents.sleep.imitation import load_judge
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.dreamer import Dreamer
from sleepgym_agents.training.qa_generation import Pair

Step = Callable[[SleepContext], dict[str, float]]


class SleepingAgent(InContext):
    """Reads in context by day; every night stages train a newly unlocked expert on the day.

    Subclasses name their stages, and settings that include those of ``seeding``.

    Attributes:
        steps: What a night does, one after the other; each returns what to log.
        stages: Train the night's expert one after the other on its training set; each returns what
            to log.
        memory: The experts.
        dreamer: Adapter with which dreams are written; None where the model has none.
        documents: The day's documents.
        practised: The day's practice questions with their right answers.
    """

    steps: tuple[Step, ...] = (consolidate_day, merge_due_levels)
    stages: tuple[Stage, ...] = ()

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        load_judge(self.config.judge)
        folder = self.config.dreamer
        self.dreamer = Dreamer.load(folder, self.lm) if folder else None
        self.memory = ExpertMemory(self.lm, self.config, derive_seed(seed, "memory"))
        self.documents: list[Document] = []
        self.practised: list[Pair] = []

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As in context; and what the stages of the nights cost."""
        return super().estimate(config, scale) + estimate_nights(config, scale)

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents, and keep them for the night."""
        super().study(documents)
        self.documents += documents

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers, and keep them for the night."""
        super().practice(questions, answers)
        self.practised += [(q.text, answer) for q, answer in zip(questions, answers, strict=True)]

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """As in context; with the context closed each question is first routed by its content."""
        if self.parts and not self.config.read_with_experts:
            with self.memory.bare():
                return super().answer(questions)
        routed = None if self.parts else route_by_content(self.memory, questions)
        if routed is None:
            return super().answer(questions)
        answers = [one.answer or "" for one in routed]
        asking = [i for i, one in enumerate(routed) if one.answer is None]
        for expert_id in dict.fromkeys(routed[i].expert_id for i in asking):
            asked = [i for i in asking if routed[i].expert_id == expert_id]
            with self.memory.active(expert_id):
                found = super().answer([routed[i].question for i in asked])
            for i, answer in zip(asked, found, strict=True):
                answers[i] = answer
        return answers

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Consolidate the day, then the levels that are due, then forget the day's text."""
        context = self.sleep_context(night)
        log: dict[str, float] = {}
        for step in self.steps:
            log |= step(context)
        self.documents, self.practised = [], []
        return {**log, **super().sleep(night), **self.memory.ledger()}

    def sleep_context(self, night: Night) -> SleepContext:
        """The night's context: what the day left behind."""
        return SleepContext(
            night=night,
            memory=self.memory,
            config=self.config,
            parts=self.parts,
            documents=self.documents,
            practised=self.practised,
            dreamer=self.dreamer,
            stages=self.stages,
        )

    @property
    def added_parameters(self) -> int:
        """Parameters of all unlocked experts."""
        return self.memory.parameters

    def save(self, path: Path) -> None:
        """Write the experts and the router's state."""
        save_memory(self.memory, path)

    def load(self, path: Path) -> None:
        """Load the experts and the router's state."""
        load_memory(self.memory, path)

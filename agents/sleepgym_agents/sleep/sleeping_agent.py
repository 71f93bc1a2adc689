"""What the paper's agents have in common: a day in context, and a night of stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleepgym import Document, Night, Question
from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.experts.checkpoint import load_memory, save_memory
from sleepgym_agents.experts.content_answers import route_by_content
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation_data import ConsolidationData, build_consolidation_data
from sleepgym_agents.sleep.episodes import Episodes, episode_examples, recall_episodes
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.imitation import load_judge
from sleepgym_agents.sleep.practised import consolidate_practice, learn_region
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.dreamer import Dreamer
from sleepgym_agents.training.qa_generation import (
    ITEM_TOKENS,
    TITLE_TOKENS,
    Pair,
    single_and_joint_contexts,
)

Stage = Callable[[SleepContext, ExpertId, ConsolidationData], dict[str, float]]
EPISODE_REPEATS = 2  # of an episode in one pass over the examples
REGION_QUESTIONS = 64  # about a text, that tell the router what it is about
EPISODES_TOGETHER = 6  # that are read together when a level is merged


class SleepingAgent(InContext):
    """Reads in context by day; every night stages train a newly unlocked expert on the day.

    Subclasses name their stages, and settings that include those of ``seeding``.

    Attributes:
        stages: Train the night's expert one after the other on its training set; each returns what
            to log.
        memory: The experts.
        dreamer: Adapter with which dreams are written; None where the model has none.
        documents: The day's documents.
        practised: The day's practice questions with their right answers.
    """

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
        log = self.consolidate(context) if self.parts else {}
        for level, window in enumerate(self.config.windows):
            if night.number % window == 0:
                log |= merge_level(context, level)
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
        )

    def consolidate(self, context: SleepContext) -> dict[str, float]:
        """Build the night's training set and run the stages on it.

        An expert that learned nothing is locked again.
        """
        memory = self.memory
        if not self._allowed(context.night):
            return {"stopped_by_budget": 1.0}
        if isinstance(memory.router, ContentRouter) and not context.documents:
            return consolidate_practice(context, self.stages)
        data = build_consolidation_data(context)
        log = data.counts()
        if not data.dreams:
            return {**log, "nothing_learned": 1.0}
        fresh = self.config.expansion or not memory.unlocked
        expert_id = memory.unlock() if fresh else memory.unlocked[0]
        memory.assign_entities(expert_id, data.entities, [x.ids[: x.asked] for x in data.examples])
        by_content = isinstance(memory.router, ContentRouter) and memory.router.documents
        with memory.active(expert_id if by_content else None):
            for stage in self.stages:
                log |= stage(context, expert_id, data)
        if fresh and memory.is_blank(expert_id):
            memory.reset(expert_id)
            log["nothing_learned"] = 1.0
        elif by_content:
            for questions in questions_by_text(data.dreams):
                learn_region(context, expert_id, questions)
        return log

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

    def _allowed(self, night: Night) -> bool:
        """Whether the budget allows another expert, and to write the night's samples."""
        parameters = self.memory.parameters
        if self.config.expansion or not parameters:
            parameters += self.memory.expert_parameters
        tokens = self.config.samples * self.config.dream_tokens
        return night.allows(
            night_generated_tokens=tokens,
            night_flops=2 * self.lm.parameters * tokens,
            added_parameters=parameters,
            state_bytes=2 * parameters,
        )


def questions_by_text(dreams: Sequence[DistillationExample]) -> list[list[str]]:
    """At most :data:`REGION_QUESTIONS` questions about each text that was open for a dream."""
    about: dict[tuple[int, ...], list[str]] = {}
    for example in dreams:
        about.setdefault(example.context, []).append(example.pair[0])
    return [own[:: -(-len(own) // REGION_QUESTIONS)] for own in about.values()]


def merge_level(context: SleepContext, level: int) -> dict[str, float]:
    """Consolidate all experts of a level into one new expert of the next, and reset them.

    The episodes that the level's experts know are recalled, read again, and learned like a day's.
    Only entities can be asked for: routers that do not go by entities merge nothing.
    """
    memory, size = context.memory, context.config.episode_tokens
    expert_ids = [expert_id for expert_id in memory.unlocked if expert_id[0] == level]
    if not expert_ids:
        return {}
    entities = memory.router.entities_of(expert_ids)
    episodes = recall_episodes(context, entities)
    examples = regenerate_qa(context, episodes, level)
    if not examples:
        return {"nothing_merged": 1.0}
    examples += episode_examples(context, entities, episodes, size) * EPISODE_REPEATS
    expert_id = memory.unlock(level + 1)
    memory.assign_entities(expert_id, entities, [x.ids[: x.asked] for x in examples])
    with memory.masked(*expert_ids):
        off_policy = context.with_settings(on_policy_every=0)
        log = distil_into_expert(off_policy, expert_id, examples, f"merge {level}")
    if memory.is_blank(expert_id) or "stopped_by_budget" in log:
        memory.reset(expert_id)
        return {"nothing_merged": 1.0}
    for faster in expert_ids:
        memory.reset(faster)
    return {"merged": float(len(expert_ids)), "merge_lessons": float(len(examples))}


def regenerate_qa(
    context: SleepContext, episodes: Episodes, level: int
) -> list[DistillationExample]:
    """Questions and answers about recalled episodes, some read together, as about a day's texts."""
    lm, config = context.lm, context.config
    read = [lm.prompter.document(Document(text)) for text in dict.fromkeys(episodes.values())]
    examples = []
    for at in range(0, len(read), EPISODES_TOGETHER):
        parts = read[at : at + EPISODES_TOGETHER]
        contexts = single_and_joint_contexts(parts, config.samples)
        with context.memory.bare():
            written = context.write_qa(contexts, "merge", level, at)
            pairs = sorted({pair for sample in written for pair in sample})
            examples += context.score(pairs, parts)
    return [example for example in examples if example.confidence >= config.confidence]


def estimate_nights(config: Any, scale: Scale) -> Cost:
    """All nights of a stream: the material, then the stages that these settings have.

    Args:
        config: Settings of ``seeding``, ``dreaming`` or ``sleep``.
        scale: Of the stream.
    """
    total = _material(config, scale)
    can_dream = hasattr(config, "dreams")
    if getattr(config, "seeding", not can_dream):
        total += Cost(trained=config.epochs * _items(config, scale))
    if getattr(config, "dreaming", can_dream):
        total += _dreaming(config, scale)
    return total


def _material(config: Any, scale: Scale) -> Cost:
    """Q&A about the day and about nothing in particular, with and without the day's context."""
    rehearsed = scale.days * config.rehearsals * (TITLE_TOKENS + ITEM_TOKENS)
    samples = config.samples * (1 if config.dream_form == "questions" else 1.5)
    written = scale.days * samples * config.dream_tokens + rehearsed
    read = scale.day_tokens + 2 * _items(config, scale) + rehearsed
    return Cost(read, written)


def _items(config: Any, scale: Scale) -> float:
    """Tokens of what is learned: the Q&A that is kept, and the day's texts, verbatim.

    Without documents hardly any generated Q&A is kept: what was practised is learned.
    """
    if not scale.documents:
        return scale.day_tokens
    return DISTINCT * scale.days * config.samples * config.dream_tokens + 2 * scale.day_tokens


def _dreaming(config: Any, scale: Scale) -> Cost:
    """Dreams written, scored, weighed by gradient, tried on a quiz, and learned."""
    written = scale.days * config.dreams * config.dream_tokens
    tried = scale.days * min(config.dreams, config.kept_by_importance + config.kept_at_random)
    quiz = 2 * tried * config.quiz_items * scale.pair_tokens  # before and after
    trained = config.copy_steps * tried * config.dream_tokens
    trained += written if config.gradient_selection else 0
    trained += config.dream_epochs * _items(config, scale)
    return Cost(written + quiz, written, trained)

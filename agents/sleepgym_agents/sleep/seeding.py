"""The agent that consolidates its day into new experts: Knowledge Seeding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from sleepgym import Document, Night, Question
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.experts.checkpoint import load_memory, save_memory
from sleepgym_agents.experts.entity_router import Names
from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.experts.routing import Place
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation_data import Material, MaterialSettings, gather
from sleepgym_agents.sleep.dreamer import Dreamer
from sleepgym_agents.sleep.episodes import story_lessons, tell_stories
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil
from sleepgym_agents.sleep.imitation import load_judge
from sleepgym_agents.training.distillation import Lesson, teach, text_lessons
from sleepgym_agents.training.qa_generation import Pair, alone_and_together, dream

RELIVED = 6  # stories that are read together
RECITALS = 2  # of a story in one pass over the lessons


@dataclass(frozen=True)
class SeedingSettings(DistillationSettings, MaterialSettings, MemorySettings, InContextSettings):
    """Settings of :class:`Seeding`.

    Attributes:
        max_answer_tokens: Longest free-text answer.
        context_tokens: Window for the day's documents and demonstrations; cut to what the model's
            positions leave beside a question and its answer.
        rank: Size of an expert's inner layer (``d_low``; 64 in the paper).
        windows: After how many nights each level but the slowest is consolidated into the next;
            each a multiple of the one before. Empty is one level; (4,) two; (2, 4, 8) four.
        router: Which expert speaks: the last whose ``names`` were read, that of the nearest hidden
            state (``keys``), a learned ``gate``, or ``always`` all of them.
        key_cosine: Least cosine at which the ``keys`` router takes a state for a stored one.
        first_layer: The first layer with experts, as a share of the depth. What lies below tells
            the router what is read.
        slots: Experts allocated up front in each level; more are allocated when all are unlocked.
        chains: Dreams sampled from the teacher, each a chain of questions and answers; half of them
            about the whole day, half about one text of it.
        dream_tokens: Longest chain.
        confidence: Least probability of an answer under its teacher; others are dropped.
        name_nats: How much more likely the day makes each word of a name.
        rehearsals: Questions sampled from the bare self: what common words are, and what routers
            that never fall silent must not change.
        recollections: Questions sampled about each name of the day.
        recollection_confidence: Least probability of a recollected answer; others are dropped.
        story_tokens: Longest story that is learned by heart under a name; 0 is none.
        story_confidence: Least probability of a story's token in the mean; others are not believed.
        teachers: Further models that read the day and teach, by name; they share the vocabulary.
        dreamer: Folder of a dreamer that ``sleepgym train-dreamer`` trained on the same base model;
            it writes the self's dreams. Empty: the self dreams as it is.
        learning_rate: Of AdamW, at its highest.
        epochs: Passes over the lessons.
        batch_size: Sequences of one optimiser step.
        items_per_sequence: Lessons chained into one sequence.
        sequence_tokens: Longest training sequence.
        warmup_share: Share of the steps in which the learning rate rises; then it falls linearly.
        weight_decay: Of AdamW.
        max_gradient_norm: Longer gradients are scaled down to it.
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        question_weight: How much predicting a question's tokens counts beside the answer's.
        on_policy_every: Steps between two that also learn from the student's own continuations;
            0 is never.
        on_policy_share: Weight of the divergence on the student's own continuations (``lambda``).
        distillation_weight: Weight of the divergence beside the imitation reward (``alpha``).
        semantic_weight: Weight of meaning beside likeness in the reward (``gamma``).
        judge: Of same meaning: ``words``, ``embeddings`` (extra) or ``module:function``.
        farthest: Largest token edit distance that earns anything for likeness (``z_0``).
        group_size: Continuations of one prefix.
        groups: Prefixes of one such step.
        expansion: Learn into a newly unlocked expert every night; otherwise into the first one.
        source: What the expert learns: the teacher's ``dreams``, or the raw ``text`` as a control.
    """

    expansion: bool = True
    source: Literal["dreams", "text"] = "dreams"


class Seeding(InContext):
    """Reads in context by day; at night distils what it read into a newly unlocked expert.

    Knowledge Seeding of "Language Models Need Sleep" (arXiv:2606.03979, section 3.2). The teacher
    is the self of the evening with the day in its context, the student the expanded self without
    it. Lessons are sampled from the teacher. The saved state holds the experts and the names they
    answer for, nothing of the base model and no text.

    Logs: ``dreams`` different questions dreamt and ``dreams_kept`` of them, ``names`` of the day,
    ``recollections`` of what was known of them, ``stories`` told again and ``recitals`` learned,
    optimiser ``steps``, ``loss``, ``imitation_reward``, and the ledger of the memory.

    Departures:
        1. Those of :mod:`sleepgym_agents.experts.expert`.
        2. The router is not trained: it goes by the names of the night, found by how much the day
           adds to their likelihood (see ``router`` for others).
        3. The teacher reads the day with its older experts silent.
        4. Beside the day, the night consolidates what was known of names that are met again; so the
           newest expert is no worse about them than the older ones.
        5. On-policy distillation and imitation share their samples, and are taken every few steps.
        6. The expert also learns the day's texts by heart, each under the names in it
           (:mod:`sleepgym_agents.sleep.episodes`): later nights, and slower levels, read them
           again.
    """

    Config: ClassVar[type] = SeedingSettings

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        load_judge(self.config.judge)
        named = self.config.dreamer
        self.dreamer = Dreamer.load(named, self.lm) if named else None
        self.memory = ExpertMemory(self.lm, self.config, derive_seed(seed, "memory"))
        self.teachers = [
            LanguageModel.load(name, seed, self.meter) for name in self.config.teachers
        ]
        self.practised: list[Pair] = []
        self.documents: list[Document] = []

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and lay them by for the night."""
        super().study(documents)
        self.documents += documents

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and lay them by for the night."""
        super().practice(questions, answers)
        self.practised += [(q.text, answer) for q, answer in zip(questions, answers, strict=True)]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Consolidate the day, then levels that are due, then forget the day's text."""
        log: dict[str, float] = {}
        if self.parts:
            log |= self.consolidate(night)
        for level, window in enumerate(self.config.windows):
            if night.number % window == 0:
                log |= self.merge(level, night)
        self.practised, self.documents = [], []
        return {**log, **super().sleep(night), **self.memory.ledger()}

    def consolidate(self, night: Night) -> dict[str, float]:
        """Gather the night's material and learn it; where nothing is learned, nothing changes."""
        memory = self.memory
        if not self._allowed(night):
            return {"stopped_by_budget": 1.0}
        material = gather(
            memory,
            self.parts,
            self.documents,
            self.practised,
            self.config,
            night,
            self.teachers,
            self.dreamer,
        )
        log = {
            "dreams": float(material.dreamt),
            "dreams_kept": float(len(material.dreams)),
            "names": float(len(material.names)),
            "recollections": float(len(material.recollections)),
            "stories": float(len(material.stories)),
            "recitals": float(len(material.recitals)),
        }
        if not material.dreams:
            return {**log, "nothing_learned": 1.0}
        fresh = self.config.expansion or not memory.unlocked
        place = memory.unlock() if fresh else memory.unlocked[0]
        memory.introduce(place, material.names, [x.ids[: x.asked] for x in material.lessons])
        log |= self.learn(place, material, night)
        if fresh and memory.is_blank(place):
            memory.reset(place)
            log["nothing_learned"] = 1.0
        return log

    def learn(self, place: Place, material: Material, night: Night) -> dict[str, float]:
        """Distil the night's material into an expert."""
        if self.config.source == "text":
            lessons = text_lessons(self.lm, self.parts, self.config.sequence_tokens)
            return distil(
                self.memory, place, lessons, replace(self.config, on_policy_every=0), night, "text"
            )
        lessons = [*material.lessons, *material.recitals * (RECITALS - 1)]
        if self.config.router in ("always", "gate"):
            lessons += material.rehearsals
        return distil(self.memory, place, lessons, self.config, night, "seeding")

    def merge(self, level: int, night: Night) -> dict[str, float]:
        """Consolidate all experts of a level into one new expert of the next, and reset them.

        What the level's experts know by heart is told and read again, and learned like a day. Only
        what is known under a name can be told: under other routers nothing is merged.
        """
        memory, config = self.memory, self.config
        places = [place for place in memory.unlocked if place[0] == level]
        if not places:
            return {}
        names = memory.router.names_of(places) if isinstance(memory.router, Names) else []
        size = config.story_tokens
        stories = tell_stories(memory, names, size, config.story_confidence, night)
        lessons = self.relive(list(dict.fromkeys(stories.values())), level, night)
        if not lessons:
            return {"nothing_merged": 1.0}
        recitals = story_lessons(self.lm, names, (), stories, size)
        lessons += recitals * RECITALS
        place = memory.unlock(level + 1)
        memory.introduce(place, names, [x.ids[: x.asked] for x in lessons])
        settings = replace(config, on_policy_every=0)
        with memory.without(*places):
            log = distil(memory, place, lessons, settings, night, f"merge {level}")
        if memory.is_blank(place) or "stopped_by_budget" in log:
            memory.reset(place)
            return {"nothing_merged": 1.0}
        for faster in places:
            memory.reset(faster)
        return {"merged": float(len(places)), "merge_lessons": float(len(lessons))}

    def relive(self, stories: Sequence[str], level: int, night: Night) -> list[Lesson]:
        """Read stories again, some at a time, and dream about them as on the day itself."""
        config, lessons = self.config, []
        told = [self.lm.prompter.document(Document(story)) for story in stories]
        for at in range(0, len(told), RELIVED):
            parts = told[at : at + RELIVED]
            scenes = alone_and_together(parts, config.chains)
            if not self.lm.affords(night, generated=len(scenes) * config.dream_tokens):
                break
            seed = night.derive_seed("merge", level, at)
            with self.memory.without(*self.memory.unlocked):
                written = dream(self.lm, scenes, tokens=config.dream_tokens, seed=seed)
                pairs = sorted({pair for chain in written for pair in chain})
                lessons += teach(self.lm, pairs, [i for part in parts for i in part])
        return [lesson for lesson in lessons if lesson.confidence >= config.confidence]

    @property
    def added_parameters(self) -> int:
        """Parameters of all unlocked experts."""
        return self.memory.parameters

    def save(self, path: Path) -> None:
        """Write experts and names."""
        save_memory(self.memory, path)

    def load(self, path: Path) -> None:
        """Read experts and names."""
        load_memory(self.memory, path)

    def _allowed(self, night: Night) -> bool:
        parameters = self.memory.parameters
        if self.config.expansion or not parameters:
            parameters += self.memory.expert_parameters
        tokens = self.config.chains * self.config.dream_tokens
        return night.allows(
            night_generated_tokens=tokens,
            night_flops=2 * self.lm.parameters * tokens,
            added_parameters=parameters,
            state_bytes=2 * parameters,
        )

"""The agent that consolidates its day into new experts: Knowledge Seeding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.experts.checkpoint import load_memory, save_memory
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation_data import (
    ConsolidationData,
    ConsolidationSettings,
    build_consolidation_data,
)
from sleepgym_agents.sleep.dreamer import Dreamer
from sleepgym_agents.sleep.episodes import episode_examples, recall_episodes
from sleepgym_agents.sleep.estimate import estimate_nights
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil_into_expert
from sleepgym_agents.sleep.imitation import load_judge
from sleepgym_agents.training.distillation import (
    DistillationExample,
    score_with_teacher,
    text_examples,
)
from sleepgym_agents.training.qa_generation import Pair, generate_qa, single_and_joint_contexts

EPISODES_TOGETHER = 6  # stories that are read together
EPISODE_REPEATS = 2  # of a story in one pass over the lessons


@dataclass(frozen=True)
class SeedingSettings(
    DistillationSettings, ConsolidationSettings, MemorySettings, InContextSettings
):
    """Settings of :class:`Seeding`.

    Attributes:
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
    title: ClassVar[str] = "Knowledge Seeding"
    sources: ClassVar[str] = "Language Models Need Sleep, arXiv:2606.03979, section 3.2"
    checked: ClassVar[str] = (
        "divergences and their gradients equal TRL's `generalized_jsd_loss` "
        "(`tests/agents/training/test_distillation.py`); the policy gradient equals TRL's GRPO "
        "(`tests/agents/sleep/test_imitation.py`); no figure of the paper"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [5e-3, 1e-2, 2e-2],
        "epochs": [6, 8, 12],
        "batch_size": [1, 2, 4],
        "items_per_sequence": [1, 3, 6],
        "first_layer": [0.0, 0.34, 0.5],
        "recollections": [0, 16, 32],
    }

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
        data = build_consolidation_data(
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
            "dreams": float(data.dreamt),
            "dreams_kept": float(len(data.dreams)),
            "names": float(len(data.names)),
            "recollections": float(len(data.recollections)),
            "stories": float(len(data.episodes)),
            "recitals": float(len(data.episode_items)),
        }
        if not data.dreams:
            return {**log, "nothing_learned": 1.0}
        fresh = self.config.expansion or not memory.unlocked
        expert_id = memory.unlock() if fresh else memory.unlocked[0]
        memory.assign_entities(expert_id, data.names, [x.ids[: x.asked] for x in data.examples])
        log |= self.learn(expert_id, data, night)
        if fresh and memory.is_blank(expert_id):
            memory.reset(expert_id)
            log["nothing_learned"] = 1.0
        return log

    def learn(self, expert_id: ExpertId, data: ConsolidationData, night: Night) -> dict[str, float]:
        """Distil the night's material into an expert."""
        if self.config.source == "text":
            examples = text_examples(self.lm, self.parts, self.config.sequence_tokens)
            return distil_into_expert(
                self.memory,
                expert_id,
                examples,
                replace(self.config, on_policy_every=0),
                night,
                "text",
            )
        examples = [*data.examples, *data.episode_items * (EPISODE_REPEATS - 1)]
        if self.config.router in ("always", "gate"):
            examples += data.rehearsals
        return distil_into_expert(self.memory, expert_id, examples, self.config, night, "seeding")

    def merge(self, level: int, night: Night) -> dict[str, float]:
        """Consolidate all experts of a level into one new expert of the next, and reset them.

        What the level's experts know by heart is told and read again, and learned like a day. Only
        what is known under a name can be told: under other routers nothing is merged.
        """
        memory, config = self.memory, self.config
        expert_ids = [expert_id for expert_id in memory.unlocked if expert_id[0] == level]
        if not expert_ids:
            return {}
        names = (
            memory.router.entities_of(expert_ids) if isinstance(memory.router, EntityRouter) else []
        )
        size = config.episode_tokens
        episodes = recall_episodes(memory, names, size, config.episode_confidence, night)
        examples = self.regenerate_qa(list(dict.fromkeys(episodes.values())), level, night)
        if not examples:
            return {"nothing_merged": 1.0}
        episode_items = episode_examples(self.lm, names, (), episodes, size)
        examples += episode_items * EPISODE_REPEATS
        expert_id = memory.unlock(level + 1)
        memory.assign_entities(expert_id, names, [x.ids[: x.asked] for x in examples])
        settings = replace(config, on_policy_every=0)
        with memory.masked(*expert_ids):
            log = distil_into_expert(memory, expert_id, examples, settings, night, f"merge {level}")
        if memory.is_blank(expert_id) or "stopped_by_budget" in log:
            memory.reset(expert_id)
            return {"nothing_merged": 1.0}
        for faster in expert_ids:
            memory.reset(faster)
        return {"merged": float(len(expert_ids)), "merge_lessons": float(len(examples))}

    def regenerate_qa(
        self, episodes: Sequence[str], level: int, night: Night
    ) -> list[DistillationExample]:
        """Read stories again, some at a time, and dream about them as on the day itself."""
        config, examples = self.config, []
        told = [self.lm.prompter.document(Document(episode)) for episode in episodes]
        for at in range(0, len(told), EPISODES_TOGETHER):
            parts = told[at : at + EPISODES_TOGETHER]
            contexts = single_and_joint_contexts(parts, config.samples)
            if not self.lm.affords(night, generated=len(contexts) * config.dream_tokens):
                break
            seed = night.derive_seed("merge", level, at)
            with self.memory.masked(*self.memory.unlocked):
                written = generate_qa(self.lm, contexts, tokens=config.dream_tokens, seed=seed)
                pairs = sorted({pair for sample in written for pair in sample})
                examples += score_with_teacher(self.lm, pairs, [i for part in parts for i in part])
        return [example for example in examples if example.confidence >= config.confidence]

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As in context; and what the stages of the nights cost."""
        return super().estimate(config, scale) + estimate_nights(config, scale)

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
        tokens = self.config.samples * self.config.dream_tokens
        return night.allows(
            night_generated_tokens=tokens,
            night_flops=2 * self.lm.parameters * tokens,
            added_parameters=parameters,
            state_bytes=2 * parameters,
        )

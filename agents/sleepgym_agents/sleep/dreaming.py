"""The agent that learns from dreams that helped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.dream_rewards import Dream, reward
from sleepgym_agents.sleep.dream_sampling import (
    SamplingSettings,
    build_quiz,
    deduplicate,
    sample_dreams,
    select_dreams,
    split_known_and_new,
)
from sleepgym_agents.sleep.dreamer import Dreamer
from sleepgym_agents.sleep.episodes import cue_texts, episode_examples, recall_episodes
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.recall import answers_about, recall_answers
from sleepgym_agents.sleep.seeding import Seeding, SeedingSettings
from sleepgym_agents.training.distillation import DistillationExample


@dataclass(frozen=True)
class DreamingSettings(SamplingSettings, SeedingSettings):
    """Settings of :class:`Dreaming`: those of ``seeding``, and how dreams are chosen and rewarded.

    Attributes:
        copy_steps: Optimiser steps of each isolated copy.
        copy_learning_rate: Of the copies.
        dream_epochs: Passes over the rewarded dreams.
        dream_learning_rate: Of AdamW, for the rewarded dreams.
    """

    copy_steps: Annotated[int, Ge(1)] = 2
    copy_learning_rate: Annotated[float, Gt(0)] = 3e-3
    dream_epochs: Annotated[int, Ge(1)] = 4
    dream_learning_rate: Annotated[float, Gt(0)] = 5e-3


class Dreaming(Seeding):
    """Reads in context by day; at night learns from those of its dreams that help a copy of it.

    Dreaming of "Language Models Need Sleep" (arXiv:2606.03979, section 3.3) without the stage
    before it: dreams are sampled from the self that has the day in context, chosen by their
    gradient, tried on isolated copies, and those that help are learned (ReST-EM, Singh et al. 2024)
    in a newly unlocked expert. The saved state is that of ``seeding``.

    Logs: those of ``seeding``; ``dreams_sampled``, and ``dreams_new``, the questions in them that
    the self cannot answer; dreams that were ``dreams_tried`` and ``dreams_rewarded``; questions of
    the ``quiz``; ``dream_steps`` and ``dream_loss`` of learning
    what was rewarded.

    Departures:
        1. Those of :mod:`sleepgym_agents.sleep.dream_rewards`.
        2. Stories about names that the day mentions again (:mod:`sleepgym_agents.sleep.episodes`)
           are read before the day's text while dreaming, so that dreams link old and new.
        3. One round of ReST-EM a night. ``sleepgym train-dreamer`` runs the outer loop on training
           streams (:mod:`sleepgym_agents.outer_loops.dreamer`).
        4. Only what the self cannot answer without reading is tried. What it can, about names that
           are dreamt of, is rehearsed beside the rewarded dreams, with the night's other lessons.
        5. Those of :class:`sleepgym_agents.sleep.seeding.Seeding`.
    """

    Config: ClassVar[type] = DreamingSettings
    title: ClassVar[str] = "Dreaming"
    sources: ClassVar[str] = "Language Models Need Sleep, arXiv:2606.03979, section 3.3"
    checked: ClassVar[str] = (
        "as `seeding`; importance equals separate backward passes "
        "(`tests/agents/sleep/test_dreams_chosen.py`); no figure of the paper"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "dream_learning_rate": [5e-3, 1e-2, 2e-2],
        "dream_epochs": [4, 8, 16],
        "kept_by_importance": [12, 28],
        "copy_learning_rate": [1e-3, 3e-3, 1e-2],
        "batch_size": [1, 2, 4],
        "items_per_sequence": [1, 3, 6],
    }

    def learn(self, expert_id: ExpertId, data: ConsolidationData, night: Night) -> dict[str, float]:
        """Dream, choose, try, and learn what helped."""
        return dream_on(self.memory, expert_id, data, self.parts, self.config, night, self.dreamer)


def dream_on(
    memory: ExpertMemory,
    expert_id: ExpertId,
    data: ConsolidationData,
    parts: Sequence[Sequence[int]],
    settings: DreamingSettings,
    night: Night,
    dreamer: Dreamer | None = None,
) -> dict[str, float]:
    """One night of Dreaming into an expert.

    Args:
        memory: Its expert at ``place`` learns; all else is frozen.
        expert_id: The expert.
        data: The night's material; its recollections stand before the day.
        parts: Token ids of the day.
        settings: How.
        night: Its budget and seed.
        dreamer: Writes the dreams in place of the self.

    Returns:
        What to log.
    """
    rng = derive_rng(night.derive_seed("dreaming"))
    written = sample_dreams(memory, data, parts, settings, rng, night, dreamer)
    known, new = split_known_and_new(memory, written)
    samples = deduplicate([[x for x in sample if x.pair in new] for sample in written])
    quiz = build_quiz(data, samples, settings, rng)
    log = {
        "dreams_sampled": float(len(written)),
        "dreams_new": float(len(new)),
        "quiz": float(len(quiz)),
    }
    if not samples or not quiz:
        return {**log, "dreams_rewarded": 0.0}
    linked = _linked(memory, expert_id, samples)
    episodes = recall_episodes(
        memory, linked, settings.episode_tokens, settings.episode_confidence, night
    )
    texts = list(cue_texts(memory.lm, linked))
    news = answers_about(texts, (item.pair for sample in samples for item in sample))
    known += recall_answers(memory, linked, news, parts, settings, night)
    _speak_for(memory, expert_id, linked)
    tried = select_dreams(memory, expert_id, samples, settings, rng)
    gains = reward(
        memory,
        expert_id,
        tried,
        quiz,
        steps=settings.copy_steps,
        learning_rate=settings.copy_learning_rate,
        night=night,
    )
    rewarded = [sample for sample, gain in zip(tried, gains, strict=True) if gain > 0]
    log["dreams_tried"], log["dreams_rewarded"] = float(len(tried)), float(len(rewarded))
    linked = _be_silent_about(memory, expert_id, linked, rewarded)
    if not rewarded:
        return log
    episode_items = episode_examples(memory.lm, linked, (), episodes, settings.episode_tokens)
    examples = rehearsed(rewarded, [*data.examples, *episode_items, *known])
    final = replace(
        settings,
        epochs=settings.dream_epochs,
        learning_rate=settings.dream_learning_rate,
        on_policy_every=0,
    )
    learned = distil_into_expert(memory, expert_id, examples, final, night, "rewarded")
    return {**log, **{f"dream_{name}": value for name, value in learned.items()}}


def rehearsed(
    rewarded: Sequence[Dream], others: Sequence[DistillationExample]
) -> list[DistillationExample]:
    """Rewarded items as they were dreamt, and other lessons, so that none is lost."""
    fresh = {item.pair: item.with_hard_targets() for sample in rewarded for item in sample}
    rest = {example.pair: example for example in others if example.pair not in fresh}
    return [*fresh.values(), *rest.values()]


def _linked(
    memory: ExpertMemory, expert_id: ExpertId, samples: Sequence[Dream]
) -> list[EntityName]:
    """Known names that dreams speak of and the expert does not."""
    router = memory.router
    if not isinstance(router, EntityRouter):
        return []
    return [name for name in _mentioned(router, samples) if expert_id not in router.table[name]]


def _speak_for(memory: ExpertMemory, expert_id: ExpertId, linked: Sequence[EntityName]) -> None:
    """Let the expert speak for names, beside those that know them."""
    if isinstance(memory.router, EntityRouter):
        memory.router.learn(linked, expert_id)


def _be_silent_about(
    memory: ExpertMemory,
    expert_id: ExpertId,
    linked: Sequence[EntityName],
    rewarded: Sequence[Dream],
) -> list[EntityName]:
    """Take back those that no rewarded dream speaks of; return the others."""
    router = memory.router
    if not isinstance(router, EntityRouter):
        return []
    kept = [name for name in _mentioned(router, rewarded) if name in linked]
    router.unlearn([name for name in linked if name not in kept], expert_id)
    return kept


def _mentioned(router: EntityRouter, samples: Sequence[Dream]) -> list[EntityName]:
    texts = {item.ids[: item.asked] for sample in samples for item in sample}
    return sorted({name for ids in texts for name in router.mentioned(ids)})

"""Dreaming: the model learns from those of its dreams that help a copy of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.compositions import compose_questions
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData, Stage
from sleepgym_agents.sleep.consolidation.episodes import episode_examples, recall_episodes
from sleepgym_agents.sleep.consolidation.replay import drop_outdated, plain_texts, recall_answers
from sleepgym_agents.sleep.dream_rewards import Dream, reward
from sleepgym_agents.sleep.dream_sampling import (
    SamplingSettings,
    build_quiz,
    deduplicate,
    sample_dreams,
    select_dreams,
    split_known_and_new,
)
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.seeding import SeedingSettings
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.sleep.sleeping_agent import SleepingAgent
from sleepgym_agents.training.distillation import DistillationExample


@dataclass(frozen=True)
class DreamingSettings(SamplingSettings, SeedingSettings):
    """Settings of :class:`Dreaming`: those of ``seeding``, and how dreams are tried and learned.

    Attributes:
        copy_steps: Optimiser steps of each isolated copy.
        copy_learning_rate: AdamW learning rate of the copies.
        dream_epochs: Passes over the rewarded dreams.
        dream_learning_rate: Peak AdamW learning rate for the rewarded dreams.
    """

    copy_steps: Annotated[int, Ge(1)] = 2
    copy_learning_rate: Annotated[float, Gt(0)] = 3e-3
    dream_epochs: Annotated[int, Ge(1)] = 4
    dream_learning_rate: Annotated[float, Gt(0)] = 5e-3


def learn_from_dreams(
    context: SleepContext, expert_id: ExpertId, data: ConsolidationData
) -> dict[str, float]:
    """The dream stage: sample dreams, try them on copies of the expert, learn those that help.

    Args:
        context: The night; its settings are :class:`DreamingSettings`.
        expert_id: The expert that learns.
        data: The night's training set.

    Returns:
        What to log.
    """
    memory, config = context.memory, context.config
    rng = derive_rng(context.derive_seed("dreaming"))
    written = data.held_back or sample_dreams(context, data.episodes, rng)
    composed: list[Dream] = []
    if config.compositions and data.entities:
        written = without_outdated(context, data, written)
        written = of_the_day(context, expert_id, data, written)
        composed, written = compose_dreams(context, expert_id, data, written)
    known, new = split_known_and_new(context, written)
    dreams = deduplicate([[item for item in dream if item.pair in new] for dream in written])
    quiz = build_quiz(data, dreams, config.quiz_items, rng)
    log = {
        "dreams_sampled": float(len(written)),
        "dreams_new": float(len(new)),
        "quiz": float(len(quiz)),
    }
    if composed:
        log["compositions"] = float(len(composed))
    if not composed and (not dreams or not quiz):
        return {**log, "dreams_rewarded": 0.0}
    own = set(memory.router.entities_of([expert_id]))
    linked = [entity for entity in mentioned(memory, dreams) if entity not in own]
    episodes = recall_episodes(context, linked)
    forms = data.forms if config.compositions else ()
    items = [item.pair for dream in dreams for item in dream]
    known += recall_answers(context, linked, items, forms)
    memory.router.assign(expert_id, linked)
    tried = select_dreams(context, expert_id, dreams, rng)
    gains = reward(context, expert_id, tried, quiz) if tried and quiz else []
    helpful = [dream for dream, gain in zip(tried, gains, strict=bool(gains)) if gain > 0]
    log["dreams_tried"], log["dreams_rewarded"] = float(len(tried)), float(len(helpful))
    rewarded = [*helpful, *composed]
    kept = [entity for entity in mentioned(memory, rewarded) if entity in linked]
    memory.router.release(expert_id, [entity for entity in linked if entity not in kept])
    if not rewarded:
        return log
    verbatim = episode_examples(context, kept, episodes, config.episode_tokens)
    examples = with_hard_targets(rewarded, [*data.examples, *data.statements, *verbatim, *known])
    final = context.with_settings(
        epochs=config.dream_epochs, learning_rate=config.dream_learning_rate, on_policy_every=0
    )
    learned = distil_into_expert(final, expert_id, examples, "rewarded")
    return {**log, **{f"dream_{name}": value for name, value in learned.items()}}


def of_the_day(
    context: SleepContext, expert_id: ExpertId, data: ConsolidationData, dreams: Sequence[Dream]
) -> list[Dream]:
    """Dreams without items that are about older days alone.

    They mention known entities, but none that the night's expert knows, and their answer is none of
    the day's. To learn them the expert would have to take these entities over, with all that older
    experts know of them: more was lost by that than learned.
    """
    router = context.memory.router
    own = set(router.entities_of([expert_id]))
    fresh = {example.pair[1] for example in data.dreams}

    def is_old(item: DistillationExample) -> bool:
        found = set(router.entities_in(item.ids[: item.asked]))
        return bool(found) and not found & own and item.pair[1] not in fresh

    return [[item for item in dream if not is_old(item)] for dream in dreams]


def without_outdated(
    context: SleepContext, data: ConsolidationData, dreams: Sequence[Dream]
) -> list[Dream]:
    """Dreams without what the whole day says otherwise: they were read beside one text of it."""
    items = {item.pair: item for dream in dreams for item in dream}
    names = plain_texts(context.lm, data.entities)
    news = [example.pair for example in data.dreams]
    current = {item.pair for item in drop_outdated(context, list(items.values()), names, news)}
    return [[item for item in dream if item.pair in current] for dream in dreams]


def compose_dreams(
    context: SleepContext, expert_id: ExpertId, data: ConsolidationData, dreams: Sequence[Dream]
) -> tuple[list[Dream], list[Dream]]:
    """Composed questions that the model cannot answer without reading, each a dream of its own.

    With them, the dreams without the items that they contradict.
    """
    dreamt = {item.pair for dream in dreams for item in dream}
    most = context.config.compositions
    pairs, wrong = compose_questions(context, expert_id, data, dreamt, most)
    composed = [[example] for example in context.score(pairs)]
    _, new = split_known_and_new(context, composed)
    left = [[item for item in dream if item.pair not in wrong] for dream in dreams]
    return [dream for dream in composed if dream[0].pair in new], left


class Dreaming(SleepingAgent):
    """Reads in context by day; at night learns from those of its dreams that help a copy of it.

    Dreaming of "Language Models Need Sleep" (arXiv:2606.03979, section 3.3) without the stage
    before it: dreams are sampled from the model that has the day in context, some of them (in the
    paper those of the largest gradient) are tried on isolated copies, and those that help are
    learned (ReST-EM, Singh et al. 2024) in a newly unlocked expert. The saved state is that of
    ``seeding``.

    Logs: those of ``seeding``; ``dreams_sampled``, and ``dreams_new``, the questions in them that
    the model cannot answer; ``compositions``, composed questions that it cannot answer; dreams that
    were ``dreams_tried`` and ``dreams_rewarded``; questions of the ``quiz``; ``dream_steps`` and
    ``dream_loss`` of learning what was rewarded.

    Departures:
        1. Those of :class:`sleepgym_agents.sleep.seeding.Seeding` but the fifth, and those of
           :mod:`sleepgym_agents.sleep.dream_rewards`.
        2. Episodes of entities that the day mentions again are read before the day's text while
           dreaming, so that dreams link old and new
           (:mod:`sleepgym_agents.sleep.consolidation.episodes`).
        3. One round of ReST-EM a night. ``sleepgym train-dreamer`` runs the outer loop on training
           streams (:mod:`sleepgym_agents.outer_loops.dreamer`).
        4. Only what the model cannot answer without reading is tried. What it can answer, about
           entities that occur in dreams, is rehearsed beside the rewarded dreams, with the night's
           other examples.
        5. Questions that need facts of two days are composed of others, where ``compositions`` asks
           for them, and learned without a trial: the model that reads has to agree to whom they
           mean (:mod:`sleepgym_agents.sleep.consolidation.compositions`).
        6. Dreams are tried in random order and written without a random expert by default: the
           ablation shows no effect of the choice by gradient nor of the random expert.
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
    stages: tuple[Stage, ...] = (learn_from_dreams,)


def with_hard_targets(
    rewarded: Sequence[Dream], others: Sequence[DistillationExample]
) -> list[DistillationExample]:
    """Rewarded items with their own text as target, and the other examples beside them."""
    fresh = {item.pair: item.with_hard_targets() for dream in rewarded for item in dream}
    rest = {example.pair: example for example in others if example.pair not in fresh}
    return [*fresh.values(), *rest.values()]


def mentioned(memory: ExpertMemory, dreams: Sequence[Dream]) -> list[EntityName]:
    """Known entities in the questions of dreams, sorted."""
    return memory.entities_in({item.ids[: item.asked] for dream in dreams for item in dream})

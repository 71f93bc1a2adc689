"""The agent that learns from dreams that helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.entity_names import Name
from sleepgym_agents.experts.entity_router import Names
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import Place
from sleepgym_agents.sleep.consolidation_data import Material
from sleepgym_agents.sleep.dream_rewards import Dream, reward
from sleepgym_agents.sleep.dream_sampling import (
    SamplingSettings,
    distinct,
    keep,
    sample_dreams,
    tell_apart,
    write_quiz,
)
from sleepgym_agents.sleep.dreamer import Dreamer
from sleepgym_agents.sleep.episodes import cue_texts, story_lessons, tell_stories
from sleepgym_agents.sleep.expert_distillation import distil
from sleepgym_agents.sleep.recall import answers_about, recall
from sleepgym_agents.sleep.seeding import Seeding, SeedingSettings
from sleepgym_agents.training.distillation import Lesson


@dataclass(frozen=True)
class DreamingSettings(SamplingSettings, SeedingSettings):
    """Settings of :class:`Dreaming`: those of ``seeding``, and how dreams are chosen and rewarded.

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
        dreams: Chains sampled (``m``).
        dream_scenes: Parts in which they are sampled; each has its own random expert.
        associations: Most stories beside a text of the day.
        kept_by_importance: Dreams with the largest gradient that are tried (``k``).
        kept_at_random: Dreams tried besides (``b``).
        random_expert: Whether, while dreaming, one random expert speaks wherever any would.
        gradient_selection: Choose by gradient; otherwise all that are tried are random.
        quiz_items: Most questions of the quiz that a dream must help with.
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
    """

    Config: ClassVar[type] = DreamingSettings

    def learn(self, place: Place, material: Material, night: Night) -> dict[str, float]:
        """Dream, choose, try, and learn what helped."""
        return dream_on(self.memory, place, material, self.parts, self.config, night, self.dreamer)


def dream_on(
    memory: ExpertMemory,
    place: Place,
    material: Material,
    parts: Sequence[Sequence[int]],
    settings: DreamingSettings,
    night: Night,
    dreamer: Dreamer | None = None,
) -> dict[str, float]:
    """One night of Dreaming into an expert.

    Args:
        memory: Its expert at ``place`` learns; all else is frozen.
        place: The expert.
        material: The night's material; its recollections stand before the day.
        parts: Token ids of the day.
        settings: How.
        night: Its budget and seed.
        dreamer: Writes the dreams in place of the self.

    Returns:
        What to log.
    """
    rng = derive_rng(night.derive_seed("dreaming"))
    written = sample_dreams(memory, material, parts, settings, rng, night, dreamer)
    known, new = tell_apart(memory, written)
    chains = distinct([[x for x in chain if x.pair in new] for chain in written])
    quiz = write_quiz(material, chains, settings, rng)
    log = {
        "dreams_sampled": float(len(written)),
        "dreams_new": float(len(new)),
        "quiz": float(len(quiz)),
    }
    if not chains or not quiz:
        return {**log, "dreams_rewarded": 0.0}
    linked = _linked(memory, place, chains)
    stories = tell_stories(memory, linked, settings.story_tokens, settings.story_confidence, night)
    texts = list(cue_texts(memory.lm, linked))
    news = answers_about(texts, (item.pair for chain in chains for item in chain))
    known += recall(memory, linked, news, parts, settings, night)
    _speak_for(memory, place, linked)
    tried = keep(memory, place, chains, settings, rng)
    gains = reward(
        memory,
        place,
        tried,
        quiz,
        steps=settings.copy_steps,
        learning_rate=settings.copy_learning_rate,
        night=night,
    )
    rewarded = [chain for chain, gain in zip(tried, gains, strict=True) if gain > 0]
    log["dreams_tried"], log["dreams_rewarded"] = float(len(tried)), float(len(rewarded))
    linked = _be_silent_about(memory, place, linked, rewarded)
    if not rewarded:
        return log
    recitals = story_lessons(memory.lm, linked, (), stories, settings.story_tokens)
    lessons = rehearsed(rewarded, [*material.lessons, *recitals, *known])
    final = replace(
        settings,
        epochs=settings.dream_epochs,
        learning_rate=settings.dream_learning_rate,
        on_policy_every=0,
    )
    learned = distil(memory, place, lessons, final, night, "rewarded")
    return {**log, **{f"dream_{name}": value for name, value in learned.items()}}


def rehearsed(rewarded: Sequence[Dream], others: Sequence[Lesson]) -> list[Lesson]:
    """Rewarded items as they were dreamt, and other lessons, so that none is lost."""
    fresh = {item.pair: item.hardened() for chain in rewarded for item in chain}
    rest = {lesson.pair: lesson for lesson in others if lesson.pair not in fresh}
    return [*fresh.values(), *rest.values()]


def _linked(memory: ExpertMemory, place: Place, chains: Sequence[Dream]) -> list[Name]:
    """Known names that dreams speak of and the expert does not."""
    router = memory.router
    if not isinstance(router, Names):
        return []
    return [name for name in _mentioned(router, chains) if place not in router.table[name]]


def _speak_for(memory: ExpertMemory, place: Place, linked: Sequence[Name]) -> None:
    """Let the expert speak for names, beside those that know them."""
    if isinstance(memory.router, Names):
        memory.router.learn(linked, place)


def _be_silent_about(
    memory: ExpertMemory, place: Place, linked: Sequence[Name], rewarded: Sequence[Dream]
) -> list[Name]:
    """Take back those that no rewarded dream speaks of; return the others."""
    router = memory.router
    if not isinstance(router, Names):
        return []
    kept = [name for name in _mentioned(router, rewarded) if name in linked]
    router.unlearn([name for name in linked if name not in kept], place)
    return kept


def _mentioned(router: Names, chains: Sequence[Dream]) -> list[Name]:
    texts = {item.ids[: item.asked] for chain in chains for item in chain}
    return sorted({name for ids in texts for name in router.mentioned(ids)})

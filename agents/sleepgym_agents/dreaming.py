"""The agent that learns from dreams that helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt

from sleepgym import Night
from sleepgym.rng import derive_rng
from sleepgym_agents.continuum import ExpertMemory
from sleepgym_agents.distilling import distil
from sleepgym_agents.dream_rewards import Dream, importance, reward
from sleepgym_agents.dreamer import Dreamer, dreaming_with
from sleepgym_agents.dreams import Pair, dream
from sleepgym_agents.lessons import Lesson, teach
from sleepgym_agents.material import Material
from sleepgym_agents.name_router import Names
from sleepgym_agents.routers import Place
from sleepgym_agents.seeding import Seeding, SeedingSettings


@dataclass(frozen=True)
class DreamingSettings(SeedingSettings):
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
        links: Questions sampled about each name that was learned together with one met again.
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
        dream_scenes: Sets of recollections that stand before the day while dreaming; each scene has
            its own random expert.
        associations: Most recollections in a scene.
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

    dreams: Annotated[int, Ge(1)] = 32
    dream_scenes: Annotated[int, Ge(1)] = 2
    associations: Annotated[int, Ge(0)] = 12
    kept_by_importance: Annotated[int, Ge(0)] = 12
    kept_at_random: Annotated[int, Ge(0)] = 4
    random_expert: bool = True
    gradient_selection: bool = True
    quiz_items: Annotated[int, Ge(1)] = 16
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

    Logs: those of ``seeding``; ``dreams_sampled``, of which ``dreams_tried`` and
    ``dreams_rewarded``; questions of the ``quiz``; ``dream_steps`` and ``dream_loss`` of learning
    what was rewarded.

    Departures:
        1. Those of :mod:`sleepgym_agents.dream_rewards`.
        2. What is known of names that the day mentions again stands before the day while dreaming,
           as questions with their answers, so that dreams link old and new.
        3. One round of ReST-EM a night. ``sleepgym train-dreamer`` runs the outer loop on training
           streams (:mod:`sleepgym_agents.dreamer_training`).
        4. Lessons of the night are rehearsed beside the rewarded dreams.
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
    chains = sample_dreams(memory, material, parts, settings, rng, night, dreamer)
    quiz = write_quiz(material, chains, settings, rng)
    log = {"dreams_sampled": float(len(chains)), "quiz": float(len(quiz))}
    if not chains or not quiz:
        return {**log, "dreams_rewarded": 0.0}
    _speak_for_linked(memory, place, chains)
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
    if not rewarded:
        return log
    lessons = rehearsed(rewarded, material)
    final = replace(
        settings,
        epochs=settings.dream_epochs,
        learning_rate=settings.dream_learning_rate,
        on_policy_every=0,
    )
    learned = distil(memory, place, lessons, final, night, "rewarded")
    return {**log, **{f"dream_{name}": value for name, value in learned.items()}}


def sample_dreams(
    memory: ExpertMemory,
    material: Material,
    parts: Sequence[Sequence[int]],
    settings: DreamingSettings,
    rng: np.random.Generator,
    night: Night,
    dreamer: Dreamer | None = None,
) -> list[Dream]:
    """Let the bare self, or a dreamer, dream about the day beside what it brought back to mind.

    Returns:
        Chains of believable items; chains without any are left out.
    """
    lm = memory.lm
    found: list[Dream] = []
    for scene in range(settings.dream_scenes):
        order = rng.permutation(len(material.recollections))
        recalled = [lesson.pair for lesson in material.links]
        recalled += [material.recollections[i].pair for i in order]
        recalled = recalled[: settings.associations]
        before = [*(lm.prompter.demonstration(*pair) for pair in recalled), *parts]
        count = len(range(scene, settings.dreams, settings.dream_scenes))
        if not lm.affords(night, generated=count * settings.dream_tokens):
            break
        seed = night.derive_seed("scene", scene)
        with memory.without(*memory.unlocked):
            with dreaming_with(lm, dreamer):
                written = _dream(memory, [before] * count, settings, rng, seed)
            flat = sorted({pair for chain in written for pair in chain})
            taught = teach(lm, flat, [i for part in before for i in part])
        believed = {x.pair: x for x in taught if x.confidence >= settings.confidence}
        for chain in written:
            items = [believed[pair] for pair in dict.fromkeys(chain) if pair in believed]
            if items:
                found.append(items)
    return found


def write_quiz(
    material: Material,
    chains: Sequence[Dream],
    settings: DreamingSettings,
    rng: np.random.Generator,
) -> list[Lesson]:
    """Lessons about the day and recollections whose questions no dream holds."""
    dreamt = {item.pair[0] for chain in chains for item in chain}
    others = [*material.dreams, *material.recollections, *material.links]
    quiz = [lesson for lesson in others if lesson.pair[0] not in dreamt]
    return [quiz[i] for i in rng.permutation(len(quiz))[: settings.quiz_items]]


def keep(
    memory: ExpertMemory,
    place: Place,
    chains: Sequence[Dream],
    settings: DreamingSettings,
    rng: np.random.Generator,
) -> list[Dream]:
    """The ``k`` most important dreams and ``b`` random others."""
    order = [int(i) for i in rng.permutation(len(chains))]
    if settings.gradient_selection:
        scores = importance(memory, place, chains)
        ranked = sorted(order, key=lambda i: -scores[i])
        best = ranked[: settings.kept_by_importance]
        order = best + [i for i in order if i not in best]
    return [chains[i] for i in order[: settings.kept_by_importance + settings.kept_at_random]]


def rehearsed(rewarded: Sequence[Dream], material: Material) -> list[Lesson]:
    """Rewarded items as they were dreamt, and the night's other lessons, so that none is lost."""
    fresh = {item.pair: item.hardened() for chain in rewarded for item in chain}
    others = [*material.dreams, *material.recollections, *material.links]
    return [*fresh.values(), *(lesson for lesson in others if lesson.pair not in fresh)]


def _dream(
    memory: ExpertMemory,
    contexts: Sequence[Sequence[Sequence[int]]],
    settings: DreamingSettings,
    rng: np.random.Generator,
    seed: int,
) -> list[list[Pair]]:
    places = memory.unlocked
    if not settings.random_expert or not places:
        return dream(memory.lm, contexts, tokens=settings.dream_tokens, seed=seed)
    with memory.also(places[int(rng.integers(len(places)))]):
        return dream(memory.lm, contexts, tokens=settings.dream_tokens, seed=seed)


def _speak_for_linked(memory: ExpertMemory, place: Place, chains: Sequence[Dream]) -> None:
    """Let the expert speak for known names that tonight's dreams link to the day."""
    router = memory.router
    if isinstance(router, Names):
        texts = {item.ids[: item.asked] for chain in chains for item in chain}
        router.learn(sorted({name for ids in texts for name in router.mentioned(ids)}), place)

"""The agent of the paper: Knowledge Seeding, then Dreaming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sleepgym import Night
from sleepgym_agents.experts.routing import Place
from sleepgym_agents.sleep.consolidation_data import Material
from sleepgym_agents.sleep.dreaming import Dreaming, DreamingSettings, dream_on
from sleepgym_agents.sleep.seeding import Seeding


@dataclass(frozen=True)
class SleepSettings(DreamingSettings):
    """Settings of :class:`Sleep`.

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
        seeding: Whether the night distils the day.
        dreaming: Whether the night dreams.
    """

    seeding: bool = True
    dreaming: bool = True


class Sleep(Dreaming):
    """Reads in context by day; at night distils what it read, then learns from helpful dreams.

    The two stages of sleep of "Language Models Need Sleep" (arXiv:2606.03979), in that order and
    into the same newly unlocked expert: memory consolidation, then dreaming.

    Logs: those of ``seeding`` and of ``dreaming``.
    """

    Config: ClassVar[type] = SleepSettings

    def learn(self, place: Place, material: Material, night: Night) -> dict[str, float]:
        """Both stages, each switchable."""
        log: dict[str, float] = {}
        if self.config.seeding:
            log |= Seeding.learn(self, place, material, night)
        if self.config.dreaming:
            log |= dream_on(
                self.memory, place, material, self.parts, self.config, night, self.dreamer
            )
        return log

"""Distillation into one expert: a divergence from the teacher, and imitation by reward.

"Language Models Need Sleep" (arXiv:2606.03979, section 3.2): generalised knowledge distillation
(Agarwal et al. 2024) together with Learning to Imitate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import Place
from sleepgym_agents.sleep.imitation import (
    load_judge,
    on_policy_divergence,
    policy_loss,
    roll_out,
    student_logits,
    teacher_logits,
)
from sleepgym_agents.training.distillation import (
    Lesson,
    LessonBatch,
    chain_lessons,
    collator,
    distillation,
)
from sleepgym_agents.training.divergence import Divergence
from sleepgym_agents.training.optimise import TrainingSettings, optimise

IMITATED_TOKENS = 64  # longer lessons are not imitated


@dataclass(frozen=True)
class DistillationSettings(TrainingSettings):
    """How lessons are distilled into an expert.

    Attributes:
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
    """

    learning_rate: float = 1e-2
    epochs: int = 8
    batch_size: int = 2
    items_per_sequence: int = 3
    question_weight: Annotated[float, Ge(0)] = 0.2
    divergence: Divergence = "forward"
    beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    on_policy_every: Annotated[int, Ge(0)] = 16
    on_policy_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    distillation_weight: Annotated[float, Interval(ge=0, le=1)] = 0.8
    semantic_weight: Annotated[float, Interval(ge=0, le=1)] = 0.5
    judge: str = "words"
    farthest: Annotated[int, Ge(0)] = 4
    group_size: Annotated[int, Ge(2)] = 4
    groups: Annotated[int, Ge(1)] = 8


def distil(
    memory: ExpertMemory,
    place: Place,
    lessons: Sequence[Lesson],
    settings: DistillationSettings,
    night: Night,
    name: str,
) -> dict[str, float]:
    """Train one expert on lessons: ``alpha * divergence - (1 - alpha) * reward``.

    Args:
        memory: The student; all else in it is frozen.
        place: The expert.
        lessons: What to learn; their teacher is the memory without this expert.
        settings: How.
        night: Its budget and seed.
        name: Of this training within the night.
    """
    lm = memory.lm
    rng = derive_rng(night.derive_seed(name))
    judge = load_judge(settings.judge)
    rewards: list[float] = []
    tokens = min(settings.sequence_tokens, lm.max_tokens - len(lm.prompter.start))
    steps: list[list[list[Lesson]]] = []
    for _ in range(settings.epochs):
        chains = chain_lessons(lessons, rng, settings.items_per_sequence, tokens)
        size = settings.batch_size
        steps.extend(chains[at : at + size] for at in range(0, len(chains), size))
    taken = iter(range(1, len(steps) + 1))

    def loss(model: torch.nn.Module, batch: LessonBatch) -> torch.Tensor:
        value = distillation(model, batch, settings.divergence, settings.beta)
        every = settings.on_policy_every
        if not every or next(taken) % every:
            return value
        short = [x for x in batch.lessons if len(x.ids) <= IMITATED_TOKENS]
        longest = max((len(lesson.ids) for lesson in short), default=0)
        if not short or not lm.affords(
            night, generated=settings.groups * settings.group_size * longest
        ):
            return value
        chosen = [short[i] for i in rng.permutation(len(short))[: settings.groups]]
        rollouts = roll_out(
            lm,
            chosen,
            size=settings.group_size,
            gamma=settings.semantic_weight,
            farthest=settings.farthest,
            judge=judge,
            rng=rng,
        )
        rewards.append(float(rollouts.rewards.mean()))
        with memory.without(place):
            teacher = teacher_logits(lm, rollouts)
        student, ids, mask = student_logits(lm, rollouts)
        own = on_policy_divergence(teacher, student, mask, settings.divergence, settings.beta)
        share, alpha = settings.on_policy_share, settings.distillation_weight
        likelihoods = student.gather(-1, ids[..., None])[..., 0]
        advantages = rollouts.advantages.to(lm.device)
        imitated = policy_loss(likelihoods, mask, advantages)
        return alpha * ((1 - share) * value + share * own) + (1 - alpha) * imitated

    with memory.training(place) as trained:
        collate = collator(lm, settings.question_weight)
        log = optimise(lm, steps, settings, night, loss, collate, trained)
    if rewards:
        log["imitation_reward"] = sum(rewards) / len(rewards)
    return log

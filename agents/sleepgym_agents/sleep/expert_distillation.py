"""Distillation into one expert: a divergence from the teacher, and imitation by reward.

"Language Models Need Sleep" (arXiv:2606.03979, section 3.2): generalised knowledge distillation
(Agarwal et al. 2024) together with Learning to Imitate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Interval

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.imitation import (
    load_judge,
    on_policy_divergence,
    policy_loss,
    roll_out,
    student_logits,
    teacher_logits,
)
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    DistillationExample,
    distillation,
    make_collator,
    pack_examples,
)
from sleepgym_agents.training.divergence import Divergence
from sleepgym_agents.training.optimise import TrainingSettings, optimise

IMITATED_TOKENS = 64  # longer lessons are not imitated


@dataclass(frozen=True)
class DistillationSettings(TrainingSettings):
    """How lessons are distilled into an expert.

    Attributes:
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        question_weight: How much predicting a question's tokens counts beside the answer's.
        on_policy_every: Steps between two that also learn from the student's own continuations;
            0 is never.
        on_policy_share: Weight of the divergence on the student's own continuations (``lambda``).
        distillation_weight: Weight of the divergence beside the imitation reward (``alpha``).
        semantic_weight: Weight of meaning beside likeness in the reward (``gamma``).
        judge: Of same meaning: ``words``, ``embeddings`` (extra) or ``module:function``.
        max_edit_distance: Largest token edit distance that earns anything for likeness (``z_0``).
        group_size: Continuations of one prefix.
        groups: Prefixes of one such step.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"farthest": "max_edit_distance"}

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
    max_edit_distance: Annotated[int, Ge(0)] = 4
    group_size: Annotated[int, Ge(2)] = 4
    groups: Annotated[int, Ge(1)] = 8


def distil_into_expert(
    memory: ExpertMemory,
    expert_id: ExpertId,
    examples: Sequence[DistillationExample],
    settings: DistillationSettings,
    night: Night,
    name: str,
) -> dict[str, float]:
    """Train one expert on lessons: ``alpha * divergence - (1 - alpha) * reward``.

    Args:
        memory: The student; all else in it is frozen.
        expert_id: The expert.
        examples: What to learn; their teacher is the memory without this expert.
        settings: How.
        night: Its budget and seed.
        name: Of this training within the night.
    """
    lm = memory.lm
    rng = derive_rng(night.derive_seed(name))
    judge = load_judge(settings.judge)
    rewards: list[float] = []
    tokens = min(settings.sequence_tokens, lm.max_tokens - len(lm.prompter.start))
    steps: list[list[list[DistillationExample]]] = []
    for _ in range(settings.epochs):
        samples = pack_examples(examples, rng, settings.items_per_sequence, tokens)
        size = settings.batch_size
        steps.extend(samples[at : at + size] for at in range(0, len(samples), size))
    taken = iter(range(1, len(steps) + 1))

    def loss(model: torch.nn.Module, batch: DistillationBatch) -> torch.Tensor:
        value = distillation(model, batch, settings.divergence, settings.beta)
        every = settings.on_policy_every
        if not every or next(taken) % every:
            return value
        short = [x for x in batch.examples if len(x.ids) <= IMITATED_TOKENS]
        longest = max((len(example.ids) for example in short), default=0)
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
            max_edit_distance=settings.max_edit_distance,
            judge=judge,
            rng=rng,
        )
        rewards.append(float(rollouts.rewards.mean()))
        with memory.masked(expert_id):
            teacher = teacher_logits(lm, rollouts)
        student, ids, mask = student_logits(lm, rollouts)
        own = on_policy_divergence(teacher, student, mask, settings.divergence, settings.beta)
        share, alpha = settings.on_policy_share, settings.distillation_weight
        likelihoods = student.gather(-1, ids[..., None])[..., 0]
        advantages = rollouts.advantages.to(lm.device)
        imitated = policy_loss(likelihoods, mask, advantages)
        return alpha * ((1 - share) * value + share * own) + (1 - alpha) * imitated

    with memory.training(expert_id) as trained:
        collate = make_collator(lm, settings.question_weight)
        log = optimise(lm, steps, settings, night, loss, collate, trained)
    if rewards:
        log["imitation_reward"] = sum(rewards) / len(rewards)
    return log

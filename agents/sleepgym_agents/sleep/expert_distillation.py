"""Distillation into one expert.

"Language Models Need Sleep" (arXiv:2606.03979, section 3.2): generalised knowledge distillation
(Agarwal et al. 2024), together with Learning to Imitate (:mod:`sleepgym_agents.sleep.imitation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval

from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.imitation import ImitationSettings
from sleepgym_agents.sleep.paper_parts import on_policy_term
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    DistillationExample,
    distillation,
    make_collator,
    pack_examples,
)
from sleepgym_agents.training.divergence import Divergence
from sleepgym_agents.training.optimise import TrainingSettings, optimise
from sleepgym_agents.training.training_step import Term


@dataclass(frozen=True)
class DistillationSettings(ImitationSettings, TrainingSettings):
    """How examples are distilled into an expert.

    Attributes:
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        question_weight: Weight of predicting a question's tokens; an answer's have weight 1.
    """

    learning_rate: float = 1e-2
    epochs: int = 8
    batch_size: int = 2
    items_per_sequence: int = 3
    question_weight: Annotated[float, Ge(0)] = 0.2
    divergence: Divergence = "forward"
    beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5


def distil_into_expert(
    context: SleepContext,
    expert_id: ExpertId,
    examples: Sequence[DistillationExample],
    name: str,
) -> dict[str, float]:
    """Train one expert on examples; all other parameters are frozen.

    Args:
        context: The night; its settings are :class:`DistillationSettings`.
        expert_id: The student is the model with this expert, the teacher the model without it.
        examples: What to learn.
        name: Of this training within the night; its seed derives from it.

    Returns:
        The log of :func:`sleepgym_agents.training.optimise.optimise`, and the mean
        ``imitation_reward`` where there is one.
    """
    lm, config = context.lm, context.config
    rng = derive_rng(context.derive_seed(name))
    tokens = min(config.sequence_tokens, lm.max_tokens - len(lm.prompter.start))
    steps: list[list[list[DistillationExample]]] = []
    for _ in range(config.epochs):
        sequences = pack_examples(examples, rng, config.items_per_sequence, tokens)
        size = config.batch_size
        steps.extend(sequences[at : at + size] for at in range(0, len(sequences), size))
    imitation = on_policy_term(context, expert_id, rng)

    def loss(model: torch.nn.Module, batch: DistillationBatch) -> torch.Tensor:
        return distillation(model, batch, config.divergence, config.beta)

    def term(batch: DistillationBatch) -> Term | None:
        return imitation.term(batch.examples) if imitation else None

    texts = [example.ids for example in examples]
    limited = nullcontext() if imitation else context.memory.limited_to(texts)
    with limited, context.memory.training(expert_id) as parameters:
        collate = make_collator(lm, config.question_weight)
        log = optimise(
            lm, steps, config, context.night, loss, collate, parameters, term=term, capture=True
        )
    if imitation and imitation.rewards:
        log["imitation_reward"] = sum(imitation.rewards) / len(imitation.rewards)
    return log

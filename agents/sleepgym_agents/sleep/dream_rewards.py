"""Which dreams are worth learning: reward by an isolated copy, and importance by gradient.

"Language Models Need Sleep" (arXiv:2606.03979, section 3.3). Every dream of a batch has its own
copy of the expert that is to learn. So one backward pass gives the gradient of each dream, and all
copies are trained side by side.

Departures:
    1. The gradient is that of the expert, not of the whole model (tests show how the two relate).
    2. In a stream the task's metric may not touch the exam: it is the mean log-likelihood of the
       answers to a quiz that the model itself wrote. Questions that a dream holds do not count for
       it.
    3. A copy is a copy of the expert, trained for a few steps, instead of a LoRA adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from sleepgym_agents.experts.copies import Copies, isolated_copies
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    DistillationExample,
    make_collator,
)
from sleepgym_agents.training.selected_logits import logits_at

Dream = list[DistillationExample]  # the items of one sample
Measure = Callable[[ExpertMemory, Copies, Sequence[DistillationExample]], torch.Tensor]


def importance(memory: ExpertMemory, expert_id: ExpertId, dreams: Sequence[Dream]) -> list[float]:
    """Norm of each dream's gradient with respect to an expert, all in one backward pass.

    Each dream has its own copy of the expert, so that the gradients of a batch stay apart.
    """
    if not dreams:
        return []
    with isolated_copies(memory, expert_id, len(dreams)) as copies:
        losses = _dream_losses(memory, copies, dreams).sum()
        if losses.requires_grad:  # the expert is active in one of them
            losses.backward()
        norms = []
        for parameters in copies.parameters:
            grads = [p.grad for p in parameters if p.grad is not None]
            norms.append(float(sum(float(g.float().square().sum()) for g in grads)) ** 0.5)
    return norms


def reward(
    context: SleepContext,
    expert_id: ExpertId,
    dreams: Sequence[Dream],
    quiz: Sequence[DistillationExample],
    measure: Measure | None = None,
) -> list[float]:
    """How much each dream helps an isolated copy of the expert with the quiz.

    All copies are trained side by side in one batch, each on its own dream.

    Args:
        context: The night; of its settings ``copy_steps`` and ``copy_learning_rate`` are read
            (:class:`sleepgym_agents.sleep.dreaming.DreamingSettings`).
        expert_id: The expert.
        dreams: What to try.
        quiz: Questions with answers; those that a dream holds do not count for it.
        measure: Of how well each copy answers each question; where None,
            :func:`mean_log_likelihood`.

    Returns:
        Mean change of the measure; 0 where no question is left for a dream.
    """
    memory, config = context.memory, context.config
    measure = measure or mean_log_likelihood
    tokens = sum(len(item.ids) for dream in dreams for item in dream)
    flops = 6 * memory.lm.parameters * tokens
    with isolated_copies(memory, expert_id, len(dreams)) as copies:
        before = measure(memory, copies, quiz)
        parameters = [p for own in copies.parameters for p in own]
        optimiser = torch.optim.AdamW(parameters, config.copy_learning_rate, weight_decay=0.0)
        for _ in range(config.copy_steps):
            if not context.night.allows(night_train_tokens=tokens, night_flops=flops):
                break
            losses = _dream_losses(memory, copies, dreams).sum()
            if not losses.requires_grad:  # the expert is active in none of them
                break
            losses.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        after = measure(memory, copies, quiz)
    held = [{item.pair for item in dream} for dream in dreams]
    counts = torch.tensor([[item.pair not in own for own in held] for item in quiz])
    counts = counts.to(after).reshape(after.shape)
    return (((after - before) * counts).sum(0) / counts.sum(0).clamp(min=1)).tolist()


def _dream_losses(memory: ExpertMemory, copies: Copies, dreams: Sequence[Dream]) -> torch.Tensor:
    """Negative log-likelihood a token of each dream under its own copy, (dreams,)."""
    lm = memory.lm
    batch = make_collator(lm, 0.0)(dreams, lm.device)
    copies.owners = torch.arange(len(dreams))
    lm.meter.train_tokens += batch.tokens
    lm.meter.flops += 6 * lm.parameters * batch.tokens
    return _row_losses(lm.model, batch)


def _row_losses(model: torch.nn.Module, batch: DistillationBatch) -> torch.Tensor:
    rows, length = batch.ids.shape
    picked = logits_at(model, batch.ids, batch.positions).float()
    wanted = batch.ids.flatten()[batch.positions + 1]
    losses = torch.nn.functional.cross_entropy(picked, wanted, reduction="none") * batch.weights
    owner = batch.positions // length
    zeros = losses.new_zeros(rows)
    total = zeros.index_add(0, owner, losses)
    return total / zeros.index_add(0, owner, batch.weights).clamp(min=1e-8)


@torch.no_grad()
def mean_log_likelihood(
    memory: ExpertMemory, copies: Copies, quiz: Sequence[DistillationExample]
) -> torch.Tensor:
    """Mean log-likelihood of each answer's tokens under each copy, (questions, copies)."""
    scores = [-_row_losses(memory.lm.model, batch) for batch in _quiz_batches(memory, copies, quiz)]
    return torch.stack(scores)


@torch.no_grad()
def exact_answers(
    memory: ExpertMemory, copies: Copies, quiz: Sequence[DistillationExample]
) -> torch.Tensor:
    """Whether each copy answers each question exactly, by forced decoding, (questions, copies)."""
    lm = memory.lm
    count = len(copies.parameters)
    right = []
    for batch in _quiz_batches(memory, copies, quiz):
        best = logits_at(lm.model, batch.ids, batch.positions).argmax(-1)
        met = (best == batch.ids.flatten()[batch.positions + 1]) | (batch.weights == 0)
        right.append(met.view(count, -1).all(-1).float())
    return torch.stack(right)


def _quiz_batches(
    memory: ExpertMemory, copies: Copies, quiz: Sequence[DistillationExample]
) -> Iterator[DistillationBatch]:
    """A batch a question, a row a copy: rows of equal length."""
    lm = memory.lm
    count = len(copies.parameters)
    collate = make_collator(lm, 0.0)
    for item in quiz:
        batch = collate([[item]] * count, lm.device)
        copies.owners = torch.arange(count)
        lm.meter.read_tokens += batch.tokens
        lm.meter.flops += 2 * lm.parameters * batch.tokens
        yield batch

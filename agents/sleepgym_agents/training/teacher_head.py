"""A teacher's distributions, kept as what its head reads and written down a few rows at a time.

A distribution over 49,152 tokens takes 200 kB in single precision, and a night has tens of
thousands of them. The hidden state from which the head makes it takes 1 kB and says the same: so
that is what is kept of a large vocabulary, and the head is asked again for each batch. Nothing is
approximated. Distributions over a small vocabulary are kept whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.divergence import Divergence, divergence
from sleepgym_agents.training.selected_logits import CHUNK_ROWS, is_large, output_head

IMPOSSIBLE = -1e4  # a log-probability that is 0 as a probability, and yet finite


_found: WeakKeyDictionary[torch.nn.Module, tuple[Any, TeacherHead | None]] = WeakKeyDictionary()


@dataclass(frozen=True)
class TeacherHead:
    """The head of a language model as it is now, though the model may be trained further.

    Attributes:
        weight: (vocabulary, width).
        bias: (vocabulary,), or None.
        cap: Logits are drawn into plus and minus this by a hyperbolic tangent; 0 is no cap.
        scale: Logits are multiplied by this.
    """

    weight: Tensor
    bias: Tensor | None
    cap: float = 0.0
    scale: float = 1.0

    def logits(self, states: Tensor) -> Tensor:
        """Logits in single precision, (..., vocabulary), of states (..., width)."""
        here = states.to(self.weight.device)
        logits = torch.nn.functional.linear(here, self.weight, self.bias).to(states.device)
        if self.cap:
            logits = torch.tanh(logits / self.cap) * self.cap
        return logits.float() * self.scale

    def log_likelihoods(self, states: Tensor, tokens: Tensor) -> Tensor:
        """Log-likelihood of a token at each place, (places,), of states (places, width)."""
        parts = []
        places = (x.split(CHUNK_ROWS) for x in (states, tokens))
        for state, token in zip(*places, strict=True):
            logits = self.logits(state)
            parts.append(logits.gather(-1, token[:, None])[:, 0] - logits.logsumexp(-1))
        return torch.cat(parts)


def teacher_head(lm: LanguageModel) -> TeacherHead | None:
    """The head of a model with a large vocabulary; None where distributions are kept whole.

    What a family does to logits after its head is found by trying it: where it is neither a cap nor
    a scale, distributions are kept whole as well.
    """
    if not is_large(lm.model):
        return None
    head = output_head(lm.model)
    key = (head.weight.data_ptr(), head.weight._version, head.weight.requires_grad)
    if key != _found.get(lm.model, (None, None))[0]:
        _found[lm.model] = key, _find(lm, head)
    return _found[lm.model][1]


def _find(lm: LanguageModel, head: Any) -> TeacherHead | None:
    made: list[Tensor] = []
    states: list[Tensor] = []

    def note(_: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        states.append(args[0].to(lm.device))
        made.append(output)

    handle = head.register_forward_hook(note)
    try:
        with torch.no_grad():
            first = torch.tensor([lm.prompter.start or [0]], device=lm.device)
            final = lm.model(input_ids=first, use_cache=False).logits.float()
    finally:
        handle.remove()
    cap = getattr(lm.model.config.get_text_config(), "final_logit_softcapping", None) or 0.0
    largest = made[0].float().abs().amax()
    scale = float((final.abs().amax() / largest).nan_to_num(1.0))
    plain = 1.0 if cap or abs(scale - 1) < 1e-2 else scale
    weight, bias = head.weight, getattr(head, "bias", None)
    if weight.requires_grad:
        weight, bias = weight.detach().clone(), None if bias is None else bias.detach().clone()
    found = TeacherHead(weight, bias, float(cap), plain)
    near = torch.allclose(found.logits(states[0]), final, atol=1e-2, rtol=1e-2)
    return found if near else None


def divergence_from(
    head: TeacherHead,
    states: Tensor,
    hard: Tensor,
    tokens: Tensor,
    student: Tensor,
    kind: Divergence,
    beta: float = 0.5,
) -> Tensor:
    """:func:`sleepgym_agents.training.divergence.divergence`, a few rows at a time.

    Args:
        head: The teacher's.
        states: What it reads, (places, width).
        hard: Where the target is the text itself, (places,), boolean.
        tokens: The tokens of the text, (places,).
        student: Logits of the student, (places, vocabulary).
        kind: Which divergence.
        beta: Share of the teacher in the mixture of ``jsd``.

    Returns:
        A value a place, (places,).
    """
    return _DivergenceFrom.apply(student, head, states, hard, tokens, kind, beta)  # type: ignore[no-any-return]


class _DivergenceFrom(torch.autograd.Function):
    """The gradient of each value is made together with it, so that nothing else is kept."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        head: TeacherHead,
        states: Tensor,
        hard: Tensor,
        tokens: Tensor,
        kind: Divergence,
        beta: float,
    ) -> Tensor:
        values, gradient = [], torch.empty_like(student)
        parts = (x.split(CHUNK_ROWS) for x in (gradient, student, states, hard, tokens))
        for into, logits, state, is_hard, token in zip(*parts, strict=True):
            target = head.logits(state).log_softmax(-1)
            certain = torch.full_like(target, IMPOSSIBLE).scatter_(-1, token[:, None], 0.0)
            target = torch.where(is_hard[:, None], certain, target)
            with torch.enable_grad():
                logits = logits.detach().float().requires_grad_(True)
                value = divergence(target, logits.log_softmax(-1), kind, beta)
                (own,) = torch.autograd.grad(value.sum(), logits)
            into.copy_(own)
            values.append(value.detach())
        ctx.save_for_backward(gradient)
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None].to(gradient.dtype), *[None] * 6

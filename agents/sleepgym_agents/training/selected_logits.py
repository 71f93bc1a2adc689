"""Logits where they are needed and nowhere else: the largest tensors of a large vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

WHOLE_VOCABULARY = 16_384  # tokens: distributions over no more of them are written down whole
CHUNK_ROWS = 128  # logits of so many places are written down in single precision at once


def logits_at(model: torch.nn.Module, ids: Tensor | None, places: Tensor, **options: Any) -> Tensor:
    """Logits at some places of a batch, (places, vocabulary); the head reads no others.

    What families do to logits after the head (a cap, a scale) is done to these.

    Args:
        model: A causal language model.
        ids: Token ids, (sequences, length); None where ``options`` hold ``inputs_embeds``.
        places: Indices into the flattened ``ids``.
        options: For the model.
    """

    def choose(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].flatten(0, 1)[places.to(args[0].device)][None], *args[1:])

    handle = output_head(model).register_forward_pre_hook(choose)
    try:
        return model(input_ids=ids, **{"use_cache": False, **options}).logits[0]
    finally:
        handle.remove()


@contextmanager
def states_before_head(model: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Within this context every pass notes what its head was to read, (batch, length, width).

    The head itself reads one place of each row: the logits of these passes are not to be used.
    """
    seen: list[Tensor] = []

    def note(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(args[0].to(model.device))  # layers may be on several devices
        return (args[0][:, -1:], *args[1:])

    handle = output_head(model).register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def output_head(model: torch.nn.Module) -> Any:
    """The module that makes logits of hidden states."""
    return model.get_output_embeddings()  # type: ignore[operator]


def is_large(model: torch.nn.Module) -> bool:
    """Whether distributions over the model's vocabulary are not to be written down whole."""
    return output_head(model).weight.shape[0] > WHOLE_VOCABULARY


def token_log_likelihoods(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-likelihood in single precision of a token at each place, (places,).

    Args:
        logits: (places, vocabulary).
        tokens: Token ids, (places,).
    """
    return _TokenLogLikelihoods.apply(logits, tokens)  # type: ignore[no-any-return]


class _TokenLogLikelihoods(torch.autograd.Function):
    """``logits.float().log_softmax(-1).gather(-1, tokens)``, without keeping the first two."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor) -> Tensor:
        sums = [part.float().logsumexp(-1) for part in logits.split(CHUNK_ROWS)]
        ctx.save_for_backward(logits, tokens, torch.cat(sums))
        return logits.gather(-1, tokens[:, None])[:, 0].float() - torch.cat(sums)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        logits, tokens, sums = ctx.saved_tensors
        out = torch.empty_like(logits)
        parts = (x.split(CHUNK_ROWS) for x in (out, logits, tokens, sums, grads[0]))
        for into, part, token, total, grad in zip(*parts, strict=True):
            values = (part.float() - total[:, None]).exp_().mul_(-grad[:, None])
            into.copy_(values.scatter_add_(-1, token[:, None], grad[:, None]))
        return out, None

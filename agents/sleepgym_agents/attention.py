"""Attention over several key-value segments, of which some are shared by the whole batch.

An exam asks hundreds of questions after the same documents, and scores hundreds of labels after
the same question. Each segment is computed once; a segment of batch size 1 serves every row of a
batch without being copied, its keys read once for all rows (as Hydragen does: Juravsky et al.
2024). Parts are joined exactly, through their log-sum-exp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

NAME = "sleepgym_segments"


@dataclass(frozen=True)
class Segment:
    """Keys and values of tokens that later tokens attend to.

    Attributes:
        layers: (keys, values) of each layer, (batch, heads, length, size); batch 1 is shared.
        mask: What a query adds to its scores, (batch, 1, 1, length); None where all is visible.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None = None

    def rows(self, index: Tensor) -> Segment:
        """The rows of a batch, in the order of ``index``; a shared segment stays as it is."""
        if self.layers[0][0].shape[0] == 1:
            return self
        mask = None if self.mask is None else self.mask[index]
        return Segment(tuple((k[index], v[index]) for k, v in self.layers), mask)


def hidden_value(dtype: torch.dtype) -> float:
    """What a mask adds where a query must not look; finite, so that padding rows stay finite."""
    return torch.finfo(dtype).min / 2


@contextmanager
def segment_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within this context the model's attention accepts the keyword ``segments``."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    segments: Sequence[Segment] = (),
    **_: Any,
) -> tuple[Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if not segments and softcap is None:
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scale, enable_gqa=query.shape[1] > key.shape[1]
        )
        return out.transpose(1, 2), None
    parts = [_attend(query * scale, key, value, attention_mask, softcap)]
    for segment in segments:
        keys, values = segment.layers[module.layer_idx]
        parts.append(_attend(query * scale, keys, values, segment.mask, softcap))
    outs, log_sums = zip(*parts, strict=True)
    shares = torch.stack(log_sums).softmax(0)
    out = sum(share * part for share, part in zip(shares, outs, strict=True))
    return out.to(query.dtype).transpose(1, 2), None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Attention to one segment and the log-sum-exp of its scores."""
    batch, heads, length, size = query.shape
    key_heads, shared = key.shape[1], key.shape[0] < batch
    grouped = query.reshape(batch, key_heads, -1, size)  # heads that share keys, as more queries
    if shared:
        grouped = grouped.transpose(0, 1).reshape(1, key_heads, -1, size)
    scores = (grouped @ key.transpose(-1, -2)).float()
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        repeats = heads // key_heads if mask.shape[2] > 1 else 1
        scores = scores + mask.repeat(1, 1, repeats, 1)
    top = scores.amax(-1, keepdim=True)
    weights = (scores - top).clamp_(min=-80.0).exp_()  # exp of less is slow, and 0 beside the top
    total = weights.sum(-1, keepdim=True)
    out = (weights.to(value.dtype) @ value) / total
    log_sum = top + total.log()
    if shared:
        out = out.reshape(key_heads, batch, -1, size).transpose(0, 1)
        log_sum = log_sum.reshape(key_heads, batch, -1, 1).transpose(0, 1)
    return out.reshape(batch, heads, length, size), log_sum.reshape(batch, heads, length, 1)


AttentionInterface.register(NAME, _attention)

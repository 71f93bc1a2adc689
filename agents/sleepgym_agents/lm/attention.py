"""Attention over several key-value segments, of which some are shared by the whole batch.

An exam asks hundreds of questions after the same documents, and scores hundreds of labels after
the same question. Each segment is computed once; a segment of batch size 1 serves every row of a
batch without being copied, its keys read once for all rows (as Hydragen does: Juravsky et al.
2024). One softmax runs over the scores of all parts. Single tokens go the same way with or without
segments: on a CPU ``scaled_dot_product_attention`` is slower for them than two matrix products.
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
CAUSAL = "sleepgym_causal"


@dataclass(frozen=True)
class Segment:
    """Keys and values of tokens that later tokens attend to.

    Attributes:
        layers: (keys, values) of each layer, (batch, heads, length, size); batch 1 is shared.
        mask: What a query adds to its scores, (batch, 1, 1, length); None where all is visible.
        router_state: What a router of experts knows of these tokens, if there is one.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None = None
    router_state: Any = None

    def rows(self, index: Tensor) -> Segment:
        """The rows of a batch, in the order of ``index``; a shared segment stays as it is."""
        if self.layers[0][0].shape[0] == 1:
            return self
        mask = None if self.mask is None else self.mask[index]
        layers = tuple((k[index], v[index]) for k, v in self.layers)
        return Segment(layers, mask, rows_of(self.router_state, index))


def rows_of(router_state: Any, index: Tensor) -> Any:
    """The rows of a router's state, if there is one."""
    return None if router_state is None else router_state.rows(index)


def hidden_value(dtype: torch.dtype) -> float:
    """What a mask adds where a query must not look; finite, so that padding rows stay finite."""
    return torch.finfo(dtype).min / 2


@contextmanager
def segment_attention(model: PreTrainedModel, name: str = NAME) -> Iterator[None]:
    """Within this context the model's attention is the function of this registered name.

    That of the default name accepts the keyword ``segments``.
    """
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def causal_attention(model: PreTrainedModel) -> Iterator[None]:
    """Within this context a whole pass without padding on a GPU takes the fused causal kernel.

    transformers looks at every mask before it leaves one out, and waits for the device to do so.
    Where the model's attention is not the one of torch, it stays as it is.
    """
    config = model.config.get_text_config()
    before = config._attn_implementation
    if before == "sdpa" and model.device.type == "cuda":
        config._attn_implementation = CAUSAL
    try:
        yield
    finally:
        config._attn_implementation = before


def _causal(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Every token sees those before it; the last query stands where the last key stands."""
    heads, length, seen = query.shape[1], query.shape[2], key.shape[2]
    grouped = query.dtype in (torch.bfloat16, torch.float16)  # by the kernel itself
    if seen > length:  # what was read before stands in front
        earlier = torch.ones(length, seen, dtype=torch.bool, device=query.device)
        attention_mask, grouped = earlier.tril(seen - length), False
    if not grouped:
        key, value = (x.repeat_interleave(heads // key.shape[1], 1) for x in (key, value))
    out = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attention_mask,
        dropout,
        is_causal=attention_mask is None,
        scale=scaling,
        enable_gqa=heads > key.shape[1],
    )
    return out.transpose(1, 2), None


def attend(
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
    """Attention over a pass's own keys and those of segments, as transformers calls it."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    fused = softcap is None and query.shape[2] > 1
    if fused and query.is_cuda:
        return _fused(module, query, key, value, attention_mask, scale, segments), None
    if fused and not segments:
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scale, enable_gqa=query.shape[1] > key.shape[1]
        )
        return out.transpose(1, 2), None
    grouped = (query * scale).reshape(len(query), key.shape[1], -1, query.shape[-1])
    if not segments:
        scores = _scores(grouped, key, attention_mask, softcap)
        out = scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
        return out.reshape(query.shape).transpose(1, 2), None
    keys, values, masks = [key], [value], [attention_mask]
    for segment in segments:
        earlier = segment.layers[module.layer_idx]
        keys.append(earlier[0])
        values.append(earlier[1])
        masks.append(None if segment.mask is None else segment.mask.to(query.device))
    scores = torch.cat(
        [_scores(grouped, k, mask, softcap) for k, mask in zip(keys, masks, strict=True)], -1
    )
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    weights = weights.split([k.shape[2] for k in keys], -1)
    parts = [_each_row(w, v) for w, v in zip(weights, values, strict=True)]
    out = sum(parts[1:], parts[0])
    return out.reshape(query.shape).transpose(1, 2), None


def _fused(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scale: float,
    segments: Sequence[Segment],
) -> Tensor:
    """One fused kernel over all parts: on a GPU copying keys is cheaper than keeping scores.

    Key heads are repeated, because with a mask no fused kernel groups them.
    """
    batch, heads, length, _ = query.shape
    keys, values, masks = [key], [value], [mask]
    for segment in segments:
        earlier_keys, earlier_values = segment.layers[module.layer_idx]
        keys.append(earlier_keys.expand(batch, -1, -1, -1))
        values.append(earlier_values.expand(batch, -1, -1, -1))
        masks.append(segment.mask)
    sizes = [k.shape[2] for k in keys]
    repeat = heads // key.shape[1]
    key, value = (torch.cat(x, 2).repeat_interleave(repeat, 1) for x in (keys, values))
    bias = query.new_zeros(batch, 1, length, sum(sizes))
    for part, own in zip(bias.split(sizes, -1), masks, strict=True):
        if own is not None:
            part.copy_(own.expand(batch, 1, length, -1))
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, bias, scale=scale)
    return out.transpose(1, 2)


def _scores(query: Tensor, key: Tensor, mask: Tensor | None, softcap: float | None) -> Tensor:
    """Scores of one segment, (batch, key heads, queries of the heads that share them, length)."""
    scores = _each_row(query, key.transpose(-1, -2))
    if softcap is not None:
        scores = torch.tanh(scores.float() / softcap) * softcap
    if mask is not None:
        if mask.shape[2] > 1:
            mask = mask.repeat(1, 1, scores.shape[2] // mask.shape[2], 1)
        scores = scores + mask
    return scores


def _each_row(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right``; where ``right`` is shared by the batch, all rows in one product."""
    batch, heads, length, _ = left.shape
    if len(right) == batch:
        return left @ right
    out = left.transpose(0, 1).reshape(heads, batch * length, -1) @ right[0]
    return out.reshape(heads, batch, length, -1).transpose(0, 1)


AttentionInterface.register(NAME, attend)
AttentionInterface.register(CAUSAL, _causal)

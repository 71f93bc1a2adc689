"""Decoding on a GPU: one step with static shapes, captured once and replayed.

A step of a small model costs a GPU microseconds and Python milliseconds: a layer is some dozen
kernels, each launched by hand. A CUDA graph launches them all at once. Everything that a step reads
or writes lies at a fixed address: the key-value cache with room for the tokens to come, the common
prefix of all rows, the next token, its position, the state of a router. Rows that ended go on
unread until the last one ends, so that shapes never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from sleepgym_agents.lm.attention import Segment
from sleepgym_agents.lm.model import LanguageModel

GRAPHS = 4  # captured steps kept of a model
LENGTH_TOKENS = 64  # caches are rounded up to so many, so that shapes repeat

Choose = partial[Tensor]  # of logits and draws


class StaticCache(Cache):
    """Keys and values of a fixed length; a step writes its own where ``write_at`` says.

    Attributes:
        write_at: Index of the token under way, (1,).
        router_state: What a router of experts knows of the tokens before, if there is one.
    """

    def __init__(self, rows: int, length: int, like: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Allocate.

        Args:
            rows: Rows of the batch.
            length: Tokens, those to come included.
            like: (keys, values) of each layer, whose heads, sizes and type are taken over.
        """
        self.write_at = torch.zeros(1, dtype=torch.long, device=like[0][0].device)
        super().__init__(layers=[_StaticLayer(rows, length, kv, self.write_at) for kv in like])
        self.router_state: Any = None


class _StaticLayer(DynamicLayer):
    def __init__(
        self, rows: int, length: int, like: tuple[Tensor, Tensor], write_at: Tensor
    ) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = like[0].dtype, like[0].device, True
        self.keys, self.values = (x.new_zeros(rows, x.shape[1], length, x.shape[3]) for x in like)
        self.write_at = write_at

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self.write_at, key_states)
        self.values.index_copy_(2, self.write_at, value_states)
        return self.keys, self.values


class CapturedStep:
    """A decoding step of fixed shape: reads the last token, chooses the next one.

    Attributes:
        rows: Rows of the batch.
        length: Tokens of a row, its prompt and those to come.
        shared: Tokens of the common prefix, 0 where there is none.
        chosen: Token ids that were chosen, (rows, steps).
    """

    def __init__(
        self,
        lm: LanguageModel,
        rows: int,
        length: int,
        shared: int,
        steps: int,
        like: Sequence[tuple[Tensor, Tensor]],
        router_state: Any,
        choose: Choose,
        sampled: bool,
    ) -> None:
        device = lm.device
        self.lm, self.rows, self.length, self.shared, self.steps = lm, rows, length, shared, steps
        self.cache = StaticCache(rows, length, like)
        self.seen = torch.zeros(rows, 1, 1, length, dtype=torch.bool, device=device)
        self.ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.positions = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.chosen = torch.zeros(rows, steps, dtype=torch.long, device=device)
        self.draws = (
            torch.zeros(rows, steps, dtype=torch.float64, device=device) if sampled else None
        )
        self.segments: list[Segment] = []
        if shared:
            layers = tuple(
                (
                    k.new_zeros(1, k.shape[1], shared, k.shape[3]),
                    v.new_zeros(1, v.shape[1], shared, v.shape[3]),
                )
                for k, v in like
            )
            mask = torch.zeros(1, 1, 1, shared, dtype=like[0][0].dtype, device=device)
            self.segments = [Segment(layers, mask)]
        self.state = None if router_state is None else router_state.blank(rows)
        self._choose = choose
        self._graph: torch.cuda.CUDAGraph | None = None

    def load(
        self,
        read: Cache,
        rows: Sequence[int],
        real: Tensor,
        segments: Sequence[Segment],
        first: Tensor,
        lengths: Tensor,
        draws: Tensor | None,
    ) -> None:
        """Take over a batch whose prompts were read and whose first tokens were chosen.

        Args:
            read: Their cache.
            rows: Which of its rows stands at each row of this step.
            real: Which tokens of the cache are real, (rows given, length).
            segments: The common prefix, as one segment, or nothing.
            first: The tokens that were chosen, (rows given,).
            lengths: Tokens of each prompt, the prefix included.
            draws: Uniform draws, (rows given, steps); None for greedy decoding.
        """
        count, width = len(rows), real.shape[1]
        index = torch.tensor(rows, device=first.device)
        for own, layer in zip(self.cache.layers, read.layers, strict=True):
            own.keys[:count, :, :width] = layer.keys[index]  # type: ignore[index]
            own.values[:count, :, :width] = layer.values[index]  # type: ignore[index]
        self.seen.zero_()
        self.seen[:count, 0, 0, :width] = real
        self.seen[count:, 0, 0, 0] = True  # rows without a prompt look at something
        if self.segments:
            (segment,), (given,) = self.segments, segments
            size = given.layers[0][0].shape[2]
            for (k, v), (other_k, other_v) in zip(segment.layers, given.layers, strict=True):
                k[:, :, :size] = other_k
                v[:, :, :size] = other_v
            assert segment.mask is not None
            segment.mask.zero_()
            segment.mask[..., size:] = torch.finfo(segment.mask.dtype).min / 2
        self.chosen[:count, 0] = first
        self.ids[:count, 0] = first
        self.positions[:count, 0] = lengths
        self.at.zero_()
        self.cache.write_at.fill_(width)
        if self.draws is not None and draws is not None:
            self.draws[:count, : draws.shape[1]] = draws
        if self.state is not None:
            self.state.fill(read.router_state, index)  # type: ignore[attr-defined]

    def advance(self, steps: int) -> None:
        """Choose so many more tokens."""
        for _ in range(steps):
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()

    def capture(self) -> None:
        """Record the step; what the step holds is meaningless until :meth:`load`."""
        self.seen[..., 0] = True
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.at.zero_()
                self.cache.write_at.zero_()
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.at.zero_()
        self.cache.write_at.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        self._graph = graph

    def _step(self) -> None:
        self.seen.index_fill_(3, self.cache.write_at, True)
        self.cache.router_state = self.state
        logits = self.lm.forward(
            self.ids,
            self.positions,
            self.seen,
            segments=self.segments,
            cache=self.cache,
            keep=1,
            charge=0,  # charged as generated
        )[:, -1]
        if self.state is not None:
            self.state.fill(self.cache.router_state)
        self.at += 1
        draws = None
        if self.draws is not None:
            draws = self.draws.gather(1, self.at.expand(self.rows, 1))[:, 0]
        chosen = self._choose(logits, draws)
        self.chosen.index_copy_(1, self.at, chosen[:, None])
        self.ids.copy_(chosen[:, None])
        self.positions += 1
        self.cache.write_at += 1


def captured_step(
    lm: LanguageModel,
    read: Cache,
    segments: Sequence[Segment],
    shape: Sequence[int],
    new_tokens: int,
    choose: Choose,
    sampled: bool,
) -> CapturedStep:
    """A step that fits a batch: one that was captured before, or a new one.

    Args:
        lm: The language model; where its weights moved, what was captured is thrown away.
        read: The cache of the batch that was read.
        segments: The common prefix, as one segment, or nothing.
        shape: Rows and tokens of the batch.
        new_tokens: Most tokens to come.
        choose: Picks tokens from logits.
        sampled: Whether it needs draws.
    """
    rows = _rounded(shape[0], 8)
    length = _rounded(shape[1] + new_tokens, LENGTH_TOKENS)
    shared = _rounded(segments[0].layers[0][0].shape[2], LENGTH_TOKENS) if segments else 0
    state = getattr(read, "router_state", None)
    weights = hash(tuple(p.data_ptr() for p in lm.model.parameters()))
    kept: dict[Any, CapturedStep] = lm.captured
    if lm.captured_for != (weights, lm.decoding_key()):
        kept.clear()
        lm.captured_for = (weights, lm.decoding_key())
    how = (*sorted(choose.keywords.items()), sampled)
    key = (rows, length, shared, _rounded(new_tokens, LENGTH_TOKENS), how)
    if key not in kept:
        while len(kept) >= GRAPHS:
            kept.pop(next(iter(kept)))
        like = [(layer.keys, layer.values) for layer in read.layers]  # type: ignore[attr-defined]
        step = CapturedStep(lm, rows, length, shared, key[3], like, state, choose, sampled)
        if lm.device.type == "cuda":
            step.capture()
        kept[key] = step
    return kept[key]


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple

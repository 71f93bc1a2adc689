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
from sleepgym_agents.lm.model import LENGTH_TOKENS, LanguageModel

GRAPHS = 4  # captured steps kept of a model

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

    @property
    def cache_bytes(self) -> int:
        """Size of its keys and values, the common prefix included."""
        layers = [(x.keys, x.values) for x in self.cache.layers]
        layers += [pair for segment in self.segments for pair in segment.layers]
        return sum(x.numel() * x.element_size() for pair in layers for x in pair)

    def take(self, read: Cache, rows: Sequence[int], places: Sequence[int], width: int) -> None:
        """Take over keys and values of prompts that were read.

        Args:
            read: Their cache.
            rows: Some of its rows.
            places: At which row of this step each of them goes on.
            width: Tokens of the longest prompt of the batch: all end there.
        """
        device = self.ids.device
        index, at = (torch.tensor(x, device=device) for x in (rows, places))
        for own, layer in zip(self.cache.layers, read.layers, strict=True):
            begin = width - layer.keys.shape[2]  # type: ignore[union-attr]
            own.keys[at, :, begin:width] = layer.keys[index]  # type: ignore[index]
            own.values[at, :, begin:width] = layer.values[index]  # type: ignore[index]
        if self.state is not None:
            self.state.fill(read.router_state, index, at)  # type: ignore[attr-defined]

    def begin(
        self,
        sizes: Sequence[int],
        segments: Sequence[Segment],
        first: Tensor,
        start: int,
        draws: Tensor | None,
    ) -> None:
        """Start a batch whose first tokens were chosen; :meth:`take` brings its keys and values.

        Args:
            sizes: Tokens of each prompt, the common prefix aside.
            segments: The common prefix, as one segment, or nothing.
            first: The tokens that were chosen, (prompts,).
            start: Tokens of the common prefix.
            draws: Uniform draws, (prompts, steps); None for greedy decoding.
        """
        count, width = len(sizes), max(sizes)
        lengths = torch.tensor(sizes, device=first.device)
        at = torch.arange(width, device=first.device)
        self.seen.zero_()
        self.seen[:count, 0, 0, :width] = at >= width - lengths[:, None]
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
        self.positions[:count, 0] = lengths + start
        self.at.zero_()
        self.cache.write_at.fill_(width)
        if self.draws is not None and draws is not None:
            self.draws[:count, : draws.shape[1]] = draws

    def advance(self, steps: int) -> None:
        """Choose so many more tokens."""
        for _ in range(steps):
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()

    def capture(self) -> None:
        """Record the step; what the step holds is meaningless until :meth:`begin`."""
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
        like = [(layer.keys, layer.values) for layer in read.layers]  # type: ignore[attr-defined]
        one = sum(x[0, :, 0].numel() * x.element_size() for pair in like for x in pair)
        room = lm.memory_bytes - one * (rows * length + shared)
        while kept and (len(kept) >= GRAPHS or sum(x.cache_bytes for x in kept.values()) > room):
            kept.pop(next(iter(kept)))
        step = CapturedStep(lm, rows, length, shared, key[3], like, state, choose, sampled)
        if lm.device.type == "cuda":
            step.capture()
        kept[key] = step
    return kept[key]


def _rounded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple

"""A key-value memory beside a feed-forward block, read by product keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sleepgym_agents.experts.expert import feed_forward_blocks

HALF = 32  # size of a half query and of a sub-key


class MemoryLayer(nn.Module):
    """Slots of values, read by content: the mean of those whose keys a token's queries are nearest.

    A query has two halves, each compared with ``side`` sub-keys; slot ``a * side + b`` has the
    score of sub-key ``a`` on the first half plus that of ``b`` on the second. Of each head the
    ``reads`` highest scores go through a softmax and weigh the values, which all heads share
    (Lample et al. 2019, arXiv:1907.05242). Sub-keys and the projection to queries are drawn once
    and stay; values start at zero, so that a new memory adds nothing.

    Args:
        width: Size of the hidden states.
        side: Sub-keys of each half; there are ``side ** 2`` slots.
        heads: Queries of a token.
        reads: Slots that a head reads, ``side`` at most.
        generator: Draws projection and sub-keys.

    Attributes:
        values: (slots, width), in single precision, at rest frozen.
        mean: Of the queries over background text, (heads, 2, HALF).
        deviation: Of the same, at least a small number.
        seen: Raw queries of what is read, where they are recorded: a list of
            (tokens, heads, 2, HALF); else None.
        opened: Slots in training, ascending; empty at rest.
        change: What training adds to their values, (opened slots + 1, width); the last row is 0
            and stands for all other slots. None at rest.
    """

    def __init__(
        self, width: int, side: int, heads: int, reads: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.heads, self.reads, self.side = heads, reads, side
        query = torch.randn(2 * heads * HALF, width, generator=generator) * width**-0.5
        keys = torch.randn(heads, 2, side, HALF, generator=generator)
        keys = nn.functional.normalize(keys, dim=-1) * HALF**0.5  # no slot nearest to everything
        self.query = nn.Parameter(query, requires_grad=False)
        self.keys = nn.Parameter(keys, requires_grad=False)
        self.values = nn.Parameter(torch.zeros(side**2, width), requires_grad=False)
        self.register_buffer("mean", torch.zeros(heads, 2, HALF))
        self.register_buffer("deviation", torch.ones(heads, 2, HALF))
        self.seen: list[Tensor] | None = None
        self.opened = torch.zeros(0, dtype=torch.long)
        self.change: nn.Parameter | None = None
        self._rows: Tensor | None = None

    @property
    def passed_parameters(self) -> int:
        """Numbers that one token passes: projection, sub-keys and the values it reads."""
        read = self.heads * self.reads * self.values.shape[1]
        return self.query.numel() + self.keys.numel() + read

    def forward(self, x: Tensor) -> Tensor:
        """What the memory adds to states (batch, length, width)."""
        raw = self.queries(x.detach().reshape(-1, x.shape[-1]))
        if self.seen is not None:
            self.seen.append(raw)
        slots, weights = self.lookup(raw)
        slots, weights = slots.flatten(1), weights.flatten(1)
        out = self._mixed(slots, weights, self.values)
        if self.change is not None and self._rows is not None:
            out = out + self._mixed(self._rows[slots], weights, self.change)
        return out.reshape(x.shape).to(x.dtype)

    def queries(self, x: Tensor) -> Tensor:
        """Raw queries of states (tokens, width): (tokens, heads, 2, HALF)."""
        return nn.functional.linear(x.float(), self.query).unflatten(-1, (self.heads, 2, HALF))

    def lookup(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Slots that raw queries read, and their weights: (tokens, heads, reads) each."""
        normed = (raw - self.mean) / self.deviation
        scores = torch.einsum("thpd,hpsd->thps", normed, self.keys)
        best, at = scores.topk(self.reads, -1)  # (tokens, heads, 2, reads)
        sums = best[:, :, 0, :, None] + best[:, :, 1, None, :]
        pairs = at[:, :, 0, :, None] * self.side + at[:, :, 1, None, :]
        top, place = sums.flatten(-2).topk(self.reads, -1)
        return pairs.flatten(-2).gather(-1, place), top.softmax(-1)

    def fit(self, raw: Tensor) -> None:
        """Take mean and deviation of raw queries, which normalise all queries from now on."""
        self.mean.copy_(raw.mean(0))
        self.deviation.copy_(raw.std(0, correction=0).clamp(min=1e-6))

    def count(self, raw: Tensor) -> Tensor:
        """How often each slot is read by raw queries, (slots,)."""
        slots, _ = self.lookup(raw)
        return torch.bincount(slots.flatten(), minlength=len(self.values))

    def open(self, slots: Tensor) -> None:
        """Let some slots be trained, and no others."""
        self.opened = slots.to(self.values.device)
        rows = torch.full((len(self.values),), len(slots), device=self.values.device)
        rows[self.opened] = torch.arange(len(slots), device=rows.device)
        self._rows = rows
        self.change = nn.Parameter(self.values.new_zeros(len(slots) + 1, self.values.shape[1]))

    @torch.no_grad()
    def close(self) -> None:
        """Add what was learned to the opened slots."""
        assert self.change is not None
        self.values[self.opened] += self.change[:-1]
        self.opened, self.change, self._rows = self.opened[:0], None, None

    def _mixed(self, rows: Tensor, weights: Tensor, table: Tensor) -> Tensor:
        """Weighted sums of rows; the last one of a change is padding, which gets no gradient."""
        last = len(table) - 1 if table is self.change else None
        return nn.functional.embedding_bag(
            rows, table, per_sample_weights=weights, mode="sum", padding_idx=last
        )


class BlockWithMemory(nn.Module):
    """A pretrained feed-forward block and what stands beside it: ``y = block(x) + memory(x)``."""

    def __init__(self, block: nn.Module, memory: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        """States (batch, length, width) after both."""
        return self.block(x) + self.memory(x)


def add_memories(
    model: Any, most: int, make: Callable[[int], MemoryLayer]
) -> Sequence[MemoryLayer]:
    """Put memories beside evenly spaced feed-forward blocks; one alone stands in the middle.

    Args:
        model: A model of transformers.
        most: How many; all blocks get one where there are fewer.
        make: From the number of a memory to it.
    """
    blocks = list(feed_forward_blocks(model))
    count = min(most, len(blocks))
    memories = []
    for number in range(count):
        layer, block = blocks[(2 * number + 1) * len(blocks) // (2 * count)]
        memory = make(number).to(next(block.parameters()).device)
        layer.mlp = BlockWithMemory(block, memory)
        memories.append(memory)
    return memories

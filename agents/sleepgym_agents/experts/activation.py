"""Which experts are on at which tokens of a pass: worked out once for all layers of the pass.

On a CPU only the tokens at which an expert is on are computed. Few experts are asked one after the
other; many, as when an exam asks about everything that was ever learned, in one batched product a
matrix, so that a pass has no loop over the experts that it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sleepgym_agents.experts.routing import Gates

LOOPED = 2  # as many experts, or fewer, are asked one after the other
PADDING = 4  # most places of a batched product for each token that is wanted


@dataclass(frozen=True)
class ActiveTokens:
    """The tokens at which the experts of one level are on, expert by expert.

    Attributes:
        slots: The experts.
        counts: How many tokens each of them has.
        experts: Index into ``slots`` of each token's expert, (found,).
        tokens: Indices into the flattened batch, (found,).
        gates: Of each, (found, 1).
    """

    slots: list[int]
    counts: list[int]
    experts: Tensor
    tokens: Tensor
    gates: Tensor

    @classmethod
    def of(cls, slots: list[int], gates: Sequence[Tensor]) -> ActiveTokens:
        """From the gate of each expert at each token, (batch, length)."""
        stacked = torch.stack(list(gates)).flatten(1)
        experts, tokens = stacked.nonzero(as_tuple=True)
        counts = experts.bincount(minlength=len(slots)).tolist()
        return cls(slots, counts, experts, tokens, stacked[experts, tokens][:, None])

    def each(self) -> list[tuple[int, Tensor, Tensor]]:
        """Slot, tokens and gates of each expert."""
        parts = self.tokens.split(self.counts), self.gates.split(self.counts)
        return list(zip(self.slots, *parts, strict=True))

    def padded(self) -> tuple[Tensor, Tensor] | None:
        """Tokens (experts, most), and their gates (experts, most, 1), 0 where there are fewer.

        None where a loop is as good, or needed: few experts, a gradient, or most of it padding.
        """
        size = len(self.slots) * max(self.counts)
        if len(self.slots) <= LOOPED or size > PADDING * len(self.tokens):
            return None
        if torch.is_grad_enabled():
            return None
        ends = torch.tensor(self.counts).cumsum(0)
        places = torch.arange(len(self.tokens)) - (ends - torch.tensor(self.counts))[self.experts]
        tokens = self.tokens.new_zeros(len(self.slots), max(self.counts))
        gates = self.gates.new_zeros(*tokens.shape, 1)
        tokens[self.experts, places] = self.tokens
        gates[self.experts, places] = self.gates
        return tokens, gates


class Activation:
    """The experts that are on in a pass.

    Attributes:
        gates: Of each expert at each token, (batch, length); missing ones are off.
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self._tokens: dict[int, tuple[ActiveTokens, tuple[Tensor, Tensor] | None]] = {}

    def at(self, level: int) -> list[tuple[int, Tensor]]:
        """Slot and gate of each expert of a level that is on."""
        return [(slot, gate) for (at, slot), gate in self.gates.items() if at == level]

    def tokens(self, level: int) -> tuple[ActiveTokens, tuple[Tensor, Tensor] | None]:
        """The tokens at which a level's experts are on, and the same padded."""
        if level not in self._tokens:
            slots, gates = zip(*self.at(level), strict=True)
            found = ActiveTokens.of(list(slots), gates)
            self._tokens[level] = found, found.padded()
        return self._tokens[level]

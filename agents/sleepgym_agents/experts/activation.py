"""Which experts are on at which tokens of a pass: worked out once for all layers of the pass."""

from __future__ import annotations

import torch
from torch import Tensor

from sleepgym_agents.experts.routing import Gates


class Activation:
    """The experts that are on in a pass.

    Attributes:
        gates: Of each expert at each token, (batch, length); missing ones are off.
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self._tokens: dict[int, list[tuple[int, Tensor, Tensor]]] = {}
        self._stacked: dict[int, tuple[tuple[int, ...], Tensor]] = {}

    def at(self, level: int) -> list[tuple[int, Tensor]]:
        """Slot and gate of each expert of a level that is on."""
        return [(slot, gate) for (at, slot), gate in self.gates.items() if at == level]

    def stacked(self, level: int) -> tuple[tuple[int, ...], Tensor]:
        """Slots of the experts of a level that are on, and their gates, (tokens, experts)."""
        if level not in self._stacked:
            slots, gates = zip(*self.at(level), strict=True)
            self._stacked[level] = slots, torch.stack(gates, -1).flatten(0, 1)
        return self._stacked[level]

    def tokens(self, level: int) -> list[tuple[int, Tensor, Tensor]]:
        """Slot of each expert of a level that is on, its tokens, and their gates.

        Tokens are indices into the flattened batch, (found,); their gates, (found, 1), are not 0.
        """
        if level not in self._tokens:
            slots, gates = zip(*self.at(level), strict=True)
            stacked = torch.stack(gates).flatten(1)
            experts, tokens = stacked.nonzero(as_tuple=True)
            counts = experts.bincount(minlength=len(slots)).tolist()
            found = stacked[experts, tokens][:, None]
            parts = zip(slots, tokens.split(counts), found.split(counts), strict=True)
            self._tokens[level] = list(parts)
        return self._tokens[level]

"""Isolated copies of one expert, side by side in one batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId, Gates, Router, RouterState


class Copies(Router):
    """A router around another one: each row of a batch has its own copy of one expert.

    Attributes:
        expert_id: The expert.
        first: Slot of the first copy, in the expert's own level.
        owners: Which copy is active in each row, (batch,); set before every pass.
        parameters: Parameters of each copy.
    """

    def __init__(self, router: Router, expert_id: ExpertId, first: int, count: int) -> None:
        super().__init__(router.markers)
        self.router, self.expert_id, self.first = router, expert_id, first
        self.each_layer = router.each_layer
        self.expert_ids = [*router.expert_ids, *((expert_id[0], first + i) for i in range(count))]
        self.owners = torch.zeros(0, dtype=torch.long)
        self.parameters: list[list[nn.Parameter]] = []

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """The inner router's gates, the expert's own passed to its copies row by row."""
        gates, router_state = self.router.route(ids, states, router_state, layer)
        gate = gates.pop(self.expert_id, None)
        if gate is not None:
            owners = self.owners.to(gate.device)
            for i in owners.unique().tolist():
                gates[self.expert_id[0], self.first + i] = (
                    gate * (owners == i).to(gate.dtype)[:, None]
                )
        return gates, router_state


@contextmanager
def isolated_copies(memory: ExpertMemory, expert_id: ExpertId, count: int) -> Iterator[Copies]:
    """Within this context copies of one expert replace it, each in rows of its own."""
    levels: list[Any] = [chain.levels[expert_id[0]] for chain in memory.chains]
    first = len(levels[0])
    router = Copies(memory.router, expert_id, first, count)
    layers = []
    for level in levels:
        layers.append([copy.deepcopy(level[expert_id[1]]) for _ in range(count)])
        level.extend(layers[-1])
    router.parameters = [
        [p.requires_grad_(True) for clones in layers for p in clones[i].parameters()]
        for i in range(count)
    ]
    memory.router = router
    try:
        yield router
    finally:
        memory.router = router.router
        for level in levels:
            del level[first:]

"""First weights of a merged expert: those inner units of its parts that explain them best.

Experts are sums over inner units. One that has all inner units of its parts writes what each part
writes where that part alone is on, if its last matrix undoes what the units of the other parts add
there: a linear regression, layer by layer, over the states that the parts see. It has a closed
form, like the merging of linear layers in RegMean (Jin et al. 2023, arXiv:2212.09849). Units are
left out one by one, each time the one without which the others fit best (optimal brain surgeon,
Hassibi and Stork 1992), until the merged expert has room for those that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from sleepgym_agents.experts.activation import Activation
from sleepgym_agents.experts.expert import Expert
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId

RIDGE = 1e-4  # of the mean square of an inner unit: penalty of its weights


class Regression:
    """What a layer's experts of one level add to states, as a linear function of inner units.

    Attributes:
        experts: The experts; their inner units, one after the other, are the features.
        inner: Sum over states of the products of two inner units, (units, units).
        cross: Of the products of inner units and what is added, (units, width).
        square: Of the squares of what is added.
    """

    def __init__(self, experts: Sequence[Expert]) -> None:
        self.experts = experts
        width, units = experts[0].down.shape[0], sum(expert.down.shape[1] for expert in experts)
        self.inner = experts[0].down.new_zeros(units, units, dtype=torch.float64)
        self.cross = self.inner.new_zeros(units, width)
        self.square = 0.0

    @torch.no_grad()
    def add(self, states: Tensor, added: Tensor) -> None:
        """Count in states and what is added to each, both (states, width)."""
        inner = torch.cat([expert.inner(states.float()) for expert in self.experts], 1).double()
        self.inner += inner.T @ inner
        self.cross += inner.T @ added.double()
        self.square += float(added.double().square().sum())

    def solve(self, units: int) -> tuple[list[int], Tensor, float]:
        """The best last matrix on at most so many inner units.

        Returns:
            Which units are left; their weights, (units left, width); and the share of what is
            added that they do not explain.
        """
        penalty = RIDGE * self.inner.diagonal().mean().clamp(min=1e-30)
        inverse = torch.linalg.inv(self.inner + penalty * torch.eye(len(self.inner)).to(self.inner))
        weights = inverse @ self.cross
        left = list(range(len(weights)))
        while len(left) > units:
            loss = weights.square().sum(1) / inverse.diagonal()
            out = int(loss.argmin())
            column = inverse[:, out] / inverse[out, out]
            weights = weights - column[:, None] * weights[out]
            inverse = inverse - column[:, None] * inverse[out]
            rest = [i for i in range(len(left)) if i != out]
            left, weights, inverse = [left[i] for i in rest], weights[rest], inverse[rest][:, rest]
        inner, cross = self.inner[left][:, left], self.cross[left]
        explained = (weights * (2 * cross - inner @ weights)).sum()
        return left, weights, 1 - float(explained) / max(self.square, 1e-30)


@contextmanager
def observed(memory: ExpertMemory, expert_ids: Sequence[ExpertId]) -> Iterator[list[Regression]]:
    """Within this context every pass counts in what experts of one level add, layer by layer."""
    wanted, slots = expert_ids[0][0], {slot for _, slot in expert_ids}
    layers = zip(*(memory.experts(expert_id) for expert_id in expert_ids), strict=True)
    found = [Regression(experts) for experts in layers]

    def observer(regression: Regression) -> Callable[[int, Activation, Tensor, Tensor], None]:
        def observe(level: int, active: Activation, states: Tensor, added: Tensor) -> None:
            gates = [gate for slot, gate in active.at(level) if slot in slots]
            if level == wanted and gates:
                on = torch.stack(gates).sum(0) > 0
                regression.add(states[on], added[on])

        return observe

    for chain, regression in zip(memory.chains, found, strict=True):
        chain.observer = observer(regression)
    try:
        yield found
    finally:
        for chain in memory.chains:
            chain.observer = None


@torch.no_grad()
def fit_expert(memory: ExpertMemory, expert_id: ExpertId, layers: Sequence[Regression]) -> float:
    """Set an expert's weights to the best fit of what was observed.

    Returns:
        The share of what was added that it does not explain, the mean over layers.
    """
    unexplained = 0.0
    for expert, regression in zip(memory.experts(expert_id), layers, strict=True):
        rank = expert.down.shape[1]
        left, weights, share = regression.solve(rank)
        gate = torch.cat([part.gate for part in regression.experts])[left]
        up = torch.cat([part.up for part in regression.experts])[left]
        expert.gate[: len(left)], expert.up[: len(left)] = gate, up
        expert.down[:, : len(left)] = weights.T.to(expert.down)
        unexplained += share / len(layers)
    return unexplained

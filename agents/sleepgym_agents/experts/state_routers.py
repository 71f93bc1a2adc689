"""The routers that go by hidden states: stored keys, and learned gates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sleepgym_agents.experts.routing import (
    SAME,
    ExpertId,
    Gates,
    Markers,
    Router,
    RouterState,
    StickyRouter,
)


class Keys(StickyRouter):
    """The expert whose stored hidden state is nearest, where it is near enough.

    Attributes:
        threshold: Least cosine.
        keys: Stored states of unit length, (keys, width).
        owners: Index into ``places`` of each key's expert, (keys,).
    """

    stores = "keys"

    def __init__(self, markers: Markers, threshold: float, width: int) -> None:
        super().__init__(markers)
        self.threshold = threshold
        self.keys = torch.empty(0, width)
        self.owners = torch.empty(0, dtype=torch.long)

    def learn(self, states: Tensor, expert_id: ExpertId) -> None:
        """Let an expert answer for hidden states (states, width); near-equal ones are kept once."""
        owner = self.expert_ids.index(expert_id)
        fresh: list[Tensor] = []
        for state in nn.functional.normalize(states.float().cpu(), dim=-1).half().float():
            if not fresh or (torch.stack(fresh) @ state).max() < self.threshold:
                fresh.append(state)
        if not fresh:
            return
        added = torch.stack(fresh)
        kept = torch.ones(len(self.keys), dtype=torch.bool)
        if len(self.keys):
            kept = (self.keys @ added.T).amax(1) < self.threshold
        self.keys = torch.cat([self.keys[kept], added])
        self.owners = torch.cat([self.owners[kept], torch.full((len(added),), owner)])

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """The owner of the nearest key."""
        if not len(self.keys):
            return torch.full(states.shape[:2], SAME, device=states.device)
        unit = nn.functional.normalize(states.float(), dim=-1)
        near, which = (unit @ self.keys.to(states.device).T).max(-1)
        return torch.where(near >= self.threshold, self.owners.to(states.device)[which], SAME)

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert and its keys."""
        at = self.expert_ids.index(expert_id)
        kept = self.owners != at
        self.keys, self.owners = self.keys[kept], self.owners[kept]
        self.owners = self.owners - (self.owners > at).long()
        super().forget(expert_id)

    def tensors(self) -> dict[str, Tensor]:
        """Keys in half precision and their owners."""
        return {"keys": self.keys.half(), "owners": self.owners.to(torch.int16)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read the keys."""
        self.keys, self.owners = tensors["keys"].float(), tensors["owners"].long()


class Gate(Router):
    """A learned gate for each expert and layer, token by token: the sigmoid of a linear map.

    The newest gate is trained with its expert: on the night's lessons to open, on rehearsal to stay
    shut.

    Attributes:
        weights: Of each place, (layers, width + 1); the last column is the bias.
    """

    stores = "keys"
    each_layer = True

    def __init__(self, markers: Markers, layers: int, width: int) -> None:
        super().__init__(markers)
        self.layers, self.width = layers, width
        self.weights: dict[ExpertId, Tensor] = {}

    def unlock(self, expert_id: ExpertId) -> None:
        """Begin with a gate that is a little open everywhere."""
        super().unlock(expert_id)
        self.weights[expert_id] = torch.zeros(self.layers, self.width + 1)

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """Open gates of one layer."""
        unit = nn.functional.rms_norm(states.float(), states.shape[-1:])
        gates = {}
        for expert_id, weights in self.weights.items():
            weight = weights[layer].to(unit.device)
            gates[expert_id] = torch.sigmoid(unit @ weight[:-1] + weight[-1])
        return gates, None

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert and its gate."""
        super().forget(expert_id)
        del self.weights[expert_id]

    def trained(self, expert_id: ExpertId) -> list[Tensor]:
        """The gate of an expert, to be trained with it."""
        self.weights[expert_id].requires_grad_(True)
        return [self.weights[expert_id]]

    def tensors(self) -> dict[str, Tensor]:
        """Gates in bfloat16, as they are kept after training, in the order of ``places``."""
        if not self.expert_ids:
            return {}
        return {
            "gates": torch.stack([self.weights[p].detach() for p in self.expert_ids]).bfloat16()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read the gates."""
        for expert_id, weight in zip(self.expert_ids, tensors.get("gates", ()), strict=True):
            self.weights[expert_id] = weight.float()

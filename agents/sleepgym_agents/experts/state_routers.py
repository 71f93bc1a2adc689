"""The routers that go by hidden states: stored keys, and learned gates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sleepgym_agents.experts.routing import SAME, Gates, Latching, Markers, Place, Router, Trail


class Keys(Latching):
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

    def learn(self, states: Tensor, place: Place) -> None:
        """Let an expert answer for hidden states (states, width); near-equal ones are kept once."""
        owner = self.places.index(place)
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

    def forget(self, place: Place) -> None:
        """Drop an expert and its keys."""
        at = self.places.index(place)
        kept = self.owners != at
        self.keys, self.owners = self.keys[kept], self.owners[kept]
        self.owners = self.owners - (self.owners > at).long()
        super().forget(place)

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
        self.weights: dict[Place, Tensor] = {}

    def unlock(self, place: Place) -> None:
        """Begin with a gate that is a little open everywhere."""
        super().unlock(place)
        self.weights[place] = torch.zeros(self.layers, self.width + 1)

    def route(
        self, ids: Tensor, states: Tensor, trail: Trail | None, layer: int = 0
    ) -> tuple[Gates, Trail | None]:
        """Open gates of one layer."""
        unit = nn.functional.rms_norm(states.float(), states.shape[-1:])
        gates = {}
        for place, weights in self.weights.items():
            weight = weights[layer].to(unit.device)
            gates[place] = torch.sigmoid(unit @ weight[:-1] + weight[-1])
        return gates, None

    def forget(self, place: Place) -> None:
        """Drop an expert and its gate."""
        super().forget(place)
        del self.weights[place]

    def trained(self, place: Place) -> list[Tensor]:
        """The gate of an expert, to be trained with it."""
        self.weights[place].requires_grad_(True)
        return [self.weights[place]]

    def tensors(self) -> dict[str, Tensor]:
        """Gates in bfloat16, as they are kept after training, in the order of ``places``."""
        if not self.places:
            return {}
        return {"gates": torch.stack([self.weights[p].detach() for p in self.places]).bfloat16()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read the gates."""
        for place, weight in zip(self.places, tensors.get("gates", ()), strict=True):
            self.weights[place] = weight.float()

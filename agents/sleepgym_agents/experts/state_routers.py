"""Routers that go by hidden states: stored keys, and learned gates.

Parts of the paper that the ablation does not show to matter: ``router=keys`` and ``router=gate``
select them; the default is :class:`sleepgym_agents.experts.content_router.ContentRouter`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.routing import (
    SAME,
    ExpertId,
    Gates,
    Markers,
    ReadStates,
    Router,
    RouterState,
    StickyRouter,
)


class Keys(StickyRouter):
    """Activates the expert whose stored hidden state is nearest, where it is near enough.

    Attributes:
        threshold: Smallest cosine of a match.
        keys: Stored states of unit length, (keys, width).
        owners: Index into ``expert_ids`` of each key's expert, (keys,).

    Both lie on the device of the states: a captured step cannot copy them there.
    """

    stores = "keys"

    def __init__(
        self, markers: Markers, threshold: float, width: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(markers)
        self.threshold = threshold
        self.keys = torch.empty(0, width, device=device)
        self.owners = torch.empty(0, dtype=torch.long, device=device)
        self._changes = 0

    @property
    def key(self) -> Hashable:
        """A captured step reads the keys that there were when it was captured."""
        return super().key, self._changes

    def assign(
        self,
        expert_id: ExpertId,
        entities: Sequence[EntityName],
        texts: Sequence[Sequence[int]] = (),
        read_states: ReadStates | None = None,
    ) -> None:
        """Store the hidden states of the texts where an entity's name ends."""
        found = []
        for ids in texts if read_states else ():
            ends = [
                i + len(name) - 1
                for name in entities
                for i in range(len(ids) - len(name) + 1)
                if tuple(ids[i : i + len(name)]) == name
            ]
            found.append(read_states(ids)[ends].float())
        if found:
            self.store(expert_id, torch.cat(found))

    def store(self, expert_id: ExpertId, states: Tensor) -> None:
        """Match hidden states (states, width) to an expert; near-equal ones are stored once."""
        owner = self.expert_ids.index(expert_id)
        fresh: list[Tensor] = []
        states = states.to(self.keys.device)
        for state in nn.functional.normalize(states.float(), dim=-1).half().float():
            if not fresh or (torch.stack(fresh) @ state).max() < self.threshold:
                fresh.append(state)
        if not fresh:
            return
        added = torch.stack(fresh)
        kept = torch.ones(len(self.keys), dtype=torch.bool, device=self.keys.device)
        if len(self.keys):
            kept = (self.keys @ added.T).amax(1) < self.threshold
        owners = torch.full((len(added),), owner, device=self.keys.device)
        self.keys = torch.cat([self.keys[kept], added])
        self.owners = torch.cat([self.owners[kept], owners])
        self._changes += 1

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
        self._changes += 1
        super().forget(expert_id)

    def tensors(self) -> dict[str, Tensor]:
        """Keys in half precision, and their owners."""
        return {"keys": self.keys.half(), "owners": self.owners.to(torch.int16)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the keys."""
        device = self.keys.device
        self.keys = tensors["keys"].float().to(device)
        self.owners = tensors["owners"].long().to(device)
        self._changes += 1


class Gate(Router):
    """A learned gate for each expert and layer, token by token: the sigmoid of a linear map.

    The newest gate is trained with its expert: to open on the night's distillation examples, to
    stay shut on rehearsal.

    Attributes:
        weights: Of each expert id, (layers, width + 1); the last column is the bias. They lie on
            the device of the states: a captured step cannot copy them there.
    """

    stores = "keys"
    each_layer = True

    def __init__(
        self, markers: Markers, layers: int, width: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(markers)
        self.layers, self.width, self.device = layers, width, device
        self.weights: dict[ExpertId, Tensor] = {}

    @property
    def key(self) -> Hashable:
        """Where the weights lie: training changes them in place, and a captured step reads them."""
        return super().key, tuple(weights.data_ptr() for weights in self.weights.values())

    def unlock(self, expert_id: ExpertId) -> None:
        """Add an expert with a gate that is half open everywhere."""
        super().unlock(expert_id)
        self.weights[expert_id] = torch.zeros(self.layers, self.width + 1, device=self.device)

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """The gates of one layer."""
        unit = nn.functional.rms_norm(states.float(), states.shape[-1:])
        gates = {}
        for expert_id, weights in self.weights.items():
            weight = weights[layer].to(unit.device)  # layers may be on several devices
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
        """Gates in bfloat16, as they are kept after training, in the order of ``expert_ids``."""
        if not self.expert_ids:
            return {}
        return {
            "gates": torch.stack(
                [self.weights[expert_id].detach() for expert_id in self.expert_ids]
            ).bfloat16()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the gates."""
        for expert_id, weight in zip(self.expert_ids, tensors.get("gates", ()), strict=True):
            self.weights[expert_id] = weight.float().to(self.device)

"""The router that goes by names: small, exact, and silent about everybody else."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sleepgym_agents.experts.entity_matcher import EntityMatcher
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.routing import SAME, ExpertId, ExpertSet, Markers, StickyRouter


class EntityRouter(StickyRouter):
    """The experts that learned about the name just read; exact matches, the longest name wins.

    Attributes:
        table: Token ids of a name -> the experts that know it, oldest first.
    """

    stores = "names"

    def __init__(self, markers: Markers) -> None:
        super().__init__(markers)
        self.table: dict[EntityName, ExpertSet] = {}
        self._matcher: tuple[Any, EntityMatcher] = None, EntityMatcher({}, torch.device("cpu"))

    @property
    def reach(self) -> int:
        """One less than the longest name."""
        return max(map(len, self.table), default=1) - 1

    def learn(self, names: Iterable[EntityName], expert_id: ExpertId) -> None:
        """Let an expert speak for names, beside those that already do."""
        for name in names:
            before = self.table.get(name, ())
            self.table[name] = before if expert_id in before else (*before, expert_id)

    def unlearn(self, names: Iterable[EntityName], expert_id: ExpertId) -> None:
        """Let an expert no longer speak for names that others know as well."""
        for name in names:
            self.table[name] = tuple(other for other in self.table[name] if other != expert_id)

    def entities_of(self, expert_ids: Sequence[ExpertId]) -> list[EntityName]:
        """The names that any of some experts knows, sorted."""
        wanted = set(expert_ids)
        return sorted(name for name, expert_set in self.table.items() if wanted & set(expert_set))

    def mentioned(self, ids: Sequence[int]) -> list[EntityName]:
        """Known names in token ids."""
        sizes = {len(name) for name in self.table}
        spans = {tuple(ids[i : i + n]) for n in sizes for i in range(len(ids) - n + 1)}
        return sorted(spans & self.table.keys())

    @property
    def key(self) -> Hashable:
        """Experts and the names that they answer for."""
        return tuple(self.expert_ids), frozenset(self.table.items())

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """Names that end at a token; where two do, the longer."""
        sets = {expert_set: i for i, expert_set in enumerate(self.expert_sets)}
        numbers = {name: sets[expert_set] for name, expert_set in self.table.items()}
        key = (ids.device, frozenset(numbers.items()))
        if self._matcher[0] != key:
            self._matcher = key, EntityMatcher(numbers, ids.device)
        return self._matcher[1].match(ids, SAME)[:, self.reach :]

    @property
    def expert_sets(self) -> list[ExpertSet]:
        """Sets of experts that speak together."""
        return sorted(set(self.table.values()))

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert, and the names that only it knew."""
        super().forget(expert_id)
        left = {name: tuple(p for p in v if p != expert_id) for name, v in self.table.items()}
        self.table = {name: expert_set for name, expert_set in left.items() if expert_set}

    def tensors(self) -> dict[str, Tensor]:
        """Names one after the other, their lengths, and which experts know them, as bits."""
        names = sorted(self.table)
        knows = [[expert_id in self.table[name] for expert_id in self.expert_ids] for name in names]
        packed = np.packbits(np.array(knows, dtype=bool).reshape(len(names), -1), axis=1)
        return {
            "ids": torch.tensor([i for name in names for i in name], dtype=torch.int32),
            "lengths": torch.tensor([len(name) for name in names], dtype=torch.int16),
            "knows": torch.from_numpy(packed),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read the table."""
        ids = iter(tensors["ids"].tolist())
        knows = np.unpackbits(tensors["knows"].numpy(), axis=1, count=len(self.expert_ids))
        self.table = {
            tuple(next(ids) for _ in range(n)): tuple(
                expert_id for expert_id, bit in zip(self.expert_ids, row, strict=True) if bit
            )
            for n, row in zip(tensors["lengths"].tolist(), knows, strict=True)
        }

"""The router that goes by entities: small, exact, and off for everything else."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sleepgym_agents.experts.entity_matcher import EntityMatcher
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.routing import (
    SAME,
    ExpertId,
    ExpertSet,
    ExpertSets,
    Markers,
    ReadStates,
    StickyRouter,
)


class EntityRouter(StickyRouter):
    """Activates the experts that know the entity just read; exact match, the longest name wins.

    Attributes:
        table: Token ids of an entity's name -> the experts that know it, oldest first; replaced by
            another one where it changes, and only there, so that what passes need of it is worked
            out once.
    """

    stores = "names"
    by_entity = True

    def __init__(self, markers: Markers) -> None:
        super().__init__(markers)
        self.table: Mapping[EntityName, ExpertSet] = {}
        self._index = _TableIndex(self.table)

    @property
    def reach(self) -> int:
        """One less than the longest name."""
        return self._of_table().reach

    def assign(
        self,
        expert_id: ExpertId,
        entities: Sequence[EntityName],
        texts: Sequence[Sequence[int]] = (),
        read_states: ReadStates | None = None,
    ) -> None:
        """Add an expert to the table's rows of entities; the texts are not needed."""
        table = dict(self.table)
        for name in entities:
            before = table.get(name, ())
            table[name] = before if expert_id in before else (*before, expert_id)
        self._replace(table)

    def release(self, expert_id: ExpertId, entities: Sequence[EntityName]) -> None:
        """Take an expert out of the table's rows of entities that others know as well."""
        left = {name: tuple(x for x in self.table[name] if x != expert_id) for name in entities}
        self._replace({**self.table, **left})

    def entities_of(self, expert_ids: Iterable[ExpertId]) -> list[EntityName]:
        """The entities that any of some experts knows, sorted."""
        wanted = set(expert_ids)
        return sorted(name for name, expert_set in self.table.items() if wanted & set(expert_set))

    def known_by_entity(self, expert_ids: Iterable[ExpertId]) -> list[ExpertId]:
        """All of them."""
        return list(expert_ids)

    def experts_for(self, texts: Iterable[Sequence[int]]) -> set[ExpertId]:
        """Those that know an entity that is mentioned."""
        named = {name for ids in texts for name in self.entities_in(ids)}
        return {expert_id for name in named for expert_id in self.table[name]}

    def entities_in(self, ids: Sequence[int]) -> list[EntityName]:
        """The entities of the table whose names occur in token ids, sorted."""
        sizes = {len(name) for name in self.table}
        spans = {tuple(ids[i : i + n]) for n in sizes for i in range(len(ids) - n + 1)}
        return sorted(spans & self.table.keys())

    @property
    def key(self) -> Hashable:
        """Experts, and the table: this very one, whose tensors a captured step reads."""
        return tuple(self.expert_ids), self._of_table()

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """Names that end at a token; where two do, the longer one."""
        return self._of_table().matcher(ids.device).match(ids, SAME)[:, self.reach :]

    @property
    def expert_sets(self) -> ExpertSets:
        """Sets of experts that know an entity together."""
        return self._of_table().expert_sets

    def _of_table(self) -> _TableIndex:
        if self._index.table is not self.table:
            self._index = _TableIndex(self.table)
        return self._index

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert, and the entities that only it knew."""
        super().forget(expert_id)
        left = {
            name: tuple(other for other in known if other != expert_id)
            for name, known in self.table.items()
        }
        self._replace({name: expert_set for name, expert_set in left.items() if expert_set})

    def _replace(self, table: Mapping[EntityName, ExpertSet]) -> None:
        if table != self.table:
            self.table = table

    def tensors(self) -> dict[str, Tensor]:
        """Names one after the other, their lengths, and the experts that know each, as bits."""
        names = sorted(self.table)
        knows = [[expert_id in self.table[name] for expert_id in self.expert_ids] for name in names]
        knows = np.array(knows, dtype=bool).reshape(len(names), len(self.expert_ids))
        packed = np.packbits(knows, axis=1)
        return {
            "ids": torch.tensor([i for name in names for i in name], dtype=torch.int32),
            "lengths": torch.tensor([len(name) for name in names], dtype=torch.int16),
            "knows": torch.from_numpy(packed),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the table."""
        ids = iter(tensors["ids"].tolist())
        knows = np.unpackbits(tensors["knows"].numpy(), axis=1, count=len(self.expert_ids))
        self.table = {
            tuple(next(ids) for _ in range(n)): tuple(
                expert_id for expert_id, bit in zip(self.expert_ids, row, strict=True) if bit
            )
            for n, row in zip(tensors["lengths"].tolist(), knows, strict=True)
        }


class _TableIndex:
    """What every pass needs of a table that does not change, on a GPU included."""

    def __init__(self, table: Mapping[EntityName, ExpertSet]) -> None:
        self.table = table
        self.reach = max(map(len, table), default=1) - 1
        self.expert_sets = ExpertSets(sorted(set(table.values())))
        self._matchers: dict[torch.device, EntityMatcher] = {}

    def matcher(self, device: torch.device) -> EntityMatcher:
        """Finds the names; a match yields the number of the set of experts that know it."""
        if device not in self._matchers:
            numbers = {expert_set: i for i, expert_set in enumerate(self.expert_sets.sets)}
            names = {name: numbers[expert_set] for name, expert_set in self.table.items()}
            with torch.inference_mode(False):
                self._matchers[device] = EntityMatcher(names, device)
        return self._matchers[device]

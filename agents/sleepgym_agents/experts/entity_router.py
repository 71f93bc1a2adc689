"""The router that goes by names: small, exact, and silent about everybody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sleepgym_agents.experts.entity_names import Name
from sleepgym_agents.experts.routing import PAD, SAME, Latching, Markers, Place, Voice


class Names(Latching):
    """The experts that learned about the name just read; exact matches, the longest name wins.

    Attributes:
        table: Token ids of a name -> the experts that know it, oldest first.
    """

    stores = "names"

    def __init__(self, markers: Markers) -> None:
        super().__init__(markers)
        self.table: dict[Name, Voice] = {}

    @property
    def reach(self) -> int:
        """One less than the longest name."""
        return max(map(len, self.table), default=1) - 1

    def learn(self, names: Iterable[Name], place: Place) -> None:
        """Let an expert speak for names, beside those that already do."""
        for name in names:
            before = self.table.get(name, ())
            self.table[name] = before if place in before else (*before, place)

    def unlearn(self, names: Iterable[Name], place: Place) -> None:
        """Let an expert no longer speak for names that others know as well."""
        for name in names:
            self.table[name] = tuple(other for other in self.table[name] if other != place)

    def names_of(self, places: Sequence[Place]) -> list[Name]:
        """The names that any of some experts knows, sorted."""
        wanted = set(places)
        return sorted(name for name, voice in self.table.items() if wanted & set(voice))

    def mentioned(self, ids: Sequence[int]) -> list[Name]:
        """Known names in token ids."""
        sizes = {len(name) for name in self.table}
        spans = {tuple(ids[i : i + n]) for n in sizes for i in range(len(ids) - n + 1)}
        return sorted(spans & self.table.keys())

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """Names that end at a token; where two do, the longer."""
        reach = self.reach
        voices = {voice: i for i, voice in enumerate(self.voices)}
        lengths = sorted({len(name) for name in self.table})
        ends = {name[-1] for name in self.table}
        rows = ids.tolist()
        met = [[SAME] * (len(row) - reach) for row in rows]
        for row, out in zip(rows, met, strict=True):
            read: list[int] = []
            for at, token in enumerate(row):
                if token != PAD:
                    read.append(token)
                if at >= reach and token in ends:
                    for n in lengths:
                        voice = self.table.get(tuple(read[-n:]))
                        if voice is not None:
                            out[at - reach] = voices[voice]
        return torch.tensor(met, device=ids.device)

    @property
    def voices(self) -> list[Voice]:
        """Sets of experts that speak together."""
        return sorted(set(self.table.values()))

    def forget(self, place: Place) -> None:
        """Drop an expert, and the names that only it knew."""
        super().forget(place)
        left = {name: tuple(p for p in v if p != place) for name, v in self.table.items()}
        self.table = {name: voice for name, voice in left.items() if voice}

    def tensors(self) -> dict[str, Tensor]:
        """Names one after the other, their lengths, and which experts know them, as bits."""
        names = sorted(self.table)
        knows = [[place in self.table[name] for place in self.places] for name in names]
        packed = np.packbits(np.array(knows, dtype=bool).reshape(len(names), -1), axis=1)
        return {
            "ids": torch.tensor([i for name in names for i in name], dtype=torch.int32),
            "lengths": torch.tensor([len(name) for name in names], dtype=torch.int16),
            "knows": torch.from_numpy(packed),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read the table."""
        ids = iter(tensors["ids"].tolist())
        knows = np.unpackbits(tensors["knows"].numpy(), axis=1, count=len(self.places))
        self.table = {
            tuple(next(ids) for _ in range(n)): tuple(
                place for place, bit in zip(self.places, row, strict=True) if bit
            )
            for n, row in zip(tensors["lengths"].tolist(), knows, strict=True)
        }

"""Finding entity names in batches of token ids, without a loop over tokens.

A window of ``n`` tokens is folded into one 64-bit number and looked up in a sorted table of the
names of that length; a hit is compared token by token, so that equal numbers of different names
cannot be mistaken for each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sleepgym_agents.experts.entity_names import EntityName

_FACTOR = 6364136223846793005 - 2**63  # odd; products wrap around


class EntityMatcher:
    """Names of each length, sorted by what their token ids fold to."""

    def __init__(self, names: Mapping[EntityName, int], device: torch.device) -> None:
        """Build the tables.

        Args:
            names: Token ids of a name -> the number that a match yields, 0 or more.
            device: Where the token ids will be.
        """
        self._tables: list[tuple[int, Tensor, Tensor, Tensor, int]] = []
        for length in sorted({len(name) for name in names}):
            own = [name for name in names if len(name) == length]
            ids = torch.tensor(own, dtype=torch.long)
            folded, order = _fold(ids).sort(stable=True)
            values = torch.tensor([names[own[i]] for i in order.tolist()])
            longest = int(folded.unique(return_counts=True)[1].max())
            table = (folded.to(device), ids[order].to(device), values.to(device))
            self._tables.append((length, *table, longest))

    def match(self, ids: Tensor, missing: int) -> Tensor:
        """The number of the longest name that ends at each token.

        Args:
            ids: Token ids, (batch, length); negative where there is none.
            missing: What stands where no name ends.

        Returns:
            Numbers, (batch, length).
        """
        order = (ids >= 0).long().argsort(dim=1, stable=True)  # what is no token goes to the left
        packed = ids.gather(1, order)
        found = torch.full_like(packed, missing)
        for length, folded, names, values, longest in self._tables:
            if packed.shape[1] < length:
                continue
            windows = packed.unfold(1, length, 1)
            keys = _fold(windows)
            at = torch.searchsorted(folded, keys)
            for offset in range(longest):
                row = (at + offset).clamp(max=len(folded) - 1)
                hit = (names[row] == windows).all(-1)
                own = found[:, length - 1 :]
                found[:, length - 1 :] = torch.where(hit, values[row], own)
        return torch.empty_like(found).scatter_(1, order, found)


def _fold(windows: Tensor) -> Tensor:
    folded = torch.zeros_like(windows[..., 0])
    for i in range(windows.shape[-1]):
        folded = folded * _FACTOR + windows[..., i]
    return folded

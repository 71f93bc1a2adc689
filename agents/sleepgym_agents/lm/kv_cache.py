"""A key-value cache for decoding: memory that is there from the start, rows that leave."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from sleepgym_agents.lm.attention import rows_of


def cache_argument(model: nn.Module) -> str:
    """What a model, and what it returns, calls its cache.

    ``cache`` since transformers 5.24, ``past_key_values`` before. The older name is still taken,
    but a hook inside the model sees the newer one.
    """
    return _cache_argument(type(model).forward)


@cache
def _cache_argument(forward: Callable[..., Any]) -> str:
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


class DecodingCache(Cache):
    """Keys and values of a batch that was read, with room for the tokens to come.

    Growing by concatenation copies everything that was ever read in every step; this copies the
    step's own token. A finished row's place is taken by the last row, so that a batch shrinks by
    copying one row.

    Attributes:
        router_state: What a router of experts knows of the tokens before, if there is one.
    """

    def __init__(self, read: Cache, rows: Sequence[int], room: int) -> None:
        """Take over what was read.

        Args:
            read: The cache of the batch that was read; its layers must be of full attention.
            rows: Which of its rows; one may be taken more than once.
            room: Tokens to come.
        """
        every = list(rows) == list(range(len(read.layers[0].keys)))
        index = _Index(torch.tensor(rows), read.layers[0].keys.device)
        super().__init__(
            layers=[
                _Layer(x, slice(None) if every else index.on(x.keys.device), len(rows), room)
                for x in read.layers
            ]
        )
        self.router_state = rows_of(getattr(read, "router_state", None), index.first)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows, in this order; those in their place are not copied."""
        first = self.layers[0].keys.device
        moved = [(row, place) for place, row in enumerate(rows) if row != place]
        index = _Index(torch.tensor(moved, dtype=torch.long).reshape(-1, 2), first)
        for layer in self.layers:
            layer.move(*index.on(layer.keys.device).unbind(1), len(rows))
        self.router_state = rows_of(self.router_state, torch.tensor(rows, device=first))


class _Index:
    """An index that layers on several devices use; each device is sent it once."""

    def __init__(self, index: Tensor, device: torch.device) -> None:
        self.first = index.to(device)
        self._found = {device: self.first}

    def on(self, device: torch.device) -> Tensor:
        if device not in self._found:
            self._found[device] = self.first.to(device)
        return self._found[device]


class _Layer(DynamicLayer):
    def __init__(self, read: DynamicLayer, rows: Tensor | slice, count: int, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = read.keys.dtype, read.keys.device, True
        self._room = tuple(_with_room(x[rows], room) for x in (read.keys, read.values))
        self._view(count, read.keys.shape[2])

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        rows, _, length, _ = self.keys.shape
        self._view(rows, length + key_states.shape[2])
        self.keys[:, :, length:] = key_states
        self.values[:, :, length:] = value_states
        return self.keys, self.values

    def move(self, sources: Tensor, targets: Tensor, count: int) -> None:
        if len(sources):
            for states in (self.keys, self.values):
                states[targets] = states[sources]
        self._view(count, self.keys.shape[2])

    def _view(self, rows: int, length: int) -> None:
        self.keys, self.values = (x[:rows, :, :length] for x in self._room)


def _with_room(states: Tensor, room: int) -> Tensor:
    rows, heads, length, size = states.shape
    out = states.new_empty(rows, heads, length + room, size)
    out[:, :, :length] = states
    return out

"""Routers: which expert speaks at which token.

A router sees token ids and hidden states, never a task, a day or a question's kind. What the
routers of names and keys find stays in force until the next item: the answer to a question about
somebody is written by the expert that knows them. The control, :class:`Always`, has every expert
speak everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from sleepgym_agents.lm.prompts import Prompter

ExpertId = tuple[int, int]  # level, slot
ExpertSet = tuple[ExpertId, ...]  # experts that speak together
Gates = dict[ExpertId, Tensor]

OFF = -1  # nobody speaks
SAME = -2  # as at the token before
PAD = -1  # no token: what a batch is filled up with


@dataclass(frozen=True)
class RouterState:
    """What a router must know of the tokens before, one row a sequence.

    Attributes:
        active: Index of the experts in force at the last token, (batch,).
        in_item: Where the last token stands, (batch,): 0 outside items, 1 in a question, 2 in its
            answer.
        suffix: The last token ids, (batch, some); filled up with :data:`PAD` on the left.
    """

    active: Tensor
    in_item: Tensor
    suffix: Tensor

    def rows(self, index: Tensor) -> RouterState:
        """The rows of a batch, in the order of ``index``; one shared row stays as it is."""
        if len(self.active) == 1:
            return self
        return RouterState(self.active[index], self.in_item[index], self.suffix[index])

    def blank(self, rows: int) -> RouterState:
        """A state of so many rows, to be filled in place."""
        return RouterState(*(x.new_zeros(rows, *x.shape[1:]) for x in self._parts))

    def fill(self, other: RouterState, index: Tensor | None = None) -> None:
        """Take over another state in place: all, or its rows ``index`` into the first rows."""
        for own, new in zip(self._parts, other._parts, strict=True):
            if index is None:
                own.copy_(new)
            else:
                own[: len(index)] = new[index]

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.active, self.in_item, self.suffix


@dataclass(frozen=True)
class Markers:
    """Token ids that tell where items lie.

    Attributes:
        opening: Begin an item.
        closing: End an item, or begin what is none. Between these and the next opening one nobody
            speaks: documents are read by the bare model.
        answering: Begin an answer. Whom it names changes nothing about who speaks.
    """

    opening: frozenset[int]
    closing: frozenset[int]
    answering: frozenset[int] = frozenset()

    @classmethod
    def of(cls, prompter: Prompter) -> Markers:
        """What every question begins with opens an item; other markers, and an answer's end, close.

        What stands within a question, such as a line end before "Answer:", closes nothing.
        """
        one, other = (prompter.question(text) for text in ("x", "y"))
        opening = {token for token in one[:1] if token in other[:1]}
        special = set(prompter.tokenizer.all_special_ids)
        closing = {*special, *prompter.stop[-1:]} - {*one, *other}
        answering = {*one[-1:]} & {*other[-1:]} & special
        return cls(frozenset(opening), frozenset(closing), frozenset(answering))


class Router:
    """Chooses experts; holds what it stores for them.

    Attributes:
        expert_ids: The unlocked experts, in the order they were unlocked.
        markers: Where items begin and end.
    """

    stores = ""  # the kind of state it saves: names or keys
    each_layer = False  # whether every layer asks, or the first one for all

    def __init__(self, markers: Markers) -> None:
        self.expert_ids: list[ExpertId] = []
        self.markers = markers

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """How much each expert counts at each token.

        Args:
            ids: Token ids, (batch, length); :data:`PAD` where there is none.
            states: What the layer reads, (batch, length, width).
            router_state: What was before these tokens; None at the beginning.
            layer: Which layer with experts asks, from 0.

        Returns:
            Gates, (batch, length) each, experts that are off everywhere left out; the new trail.
        """
        raise NotImplementedError

    @property
    def key(self) -> Hashable:
        """Changes with what decides which experts are active, the tokens aside."""
        return tuple(self.expert_ids)

    def unlock(self, expert_id: ExpertId) -> None:
        """Take an expert in."""
        self.expert_ids.append(expert_id)

    def trained(self, expert_id: ExpertId) -> list[Tensor]:
        """What of the router is trained together with an expert."""
        return []

    def forget(self, expert_id: ExpertId) -> None:
        """Drop what is stored for an expert that is reset."""
        self.expert_ids = [p for p in self.expert_ids if p != expert_id]

    def tensors(self) -> dict[str, Tensor]:
        """What to save."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what :meth:`tensors` gave."""


class Always(Router):
    """Every expert speaks at every token: the control."""

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """All on."""
        return {
            expert_id: torch.ones(ids.shape, device=ids.device) for expert_id in self.expert_ids
        }, None


class StickyRouter(Router):
    """Experts speak from where they are met to the end of the item, or to where others are met."""

    reach = 0  # how many tokens before one must be known to match it

    @property
    def expert_sets(self) -> list[ExpertSet]:
        """The sets of experts that may speak together; by default each one alone."""
        return [(expert_id,) for expert_id in self.expert_ids]

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """Index into ``voices`` of the experts met at each token, :data:`SAME` where none is.

        Args:
            ids: Token ids, (batch, ``reach`` + length).
            states: Hidden states of the last ``length`` tokens.
        """
        raise NotImplementedError

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """The last expert met since the item began."""
        batch = len(ids)
        everywhere = not self.markers.opening  # items without markers of their own
        if router_state is None:
            begun = ids.new_full((batch,), int(everywhere))
            suffix = ids.new_full((batch, self.reach), PAD)
            router_state = RouterState(ids.new_full((batch,), OFF), begun, suffix)
        known = torch.cat([router_state.suffix.expand(batch, -1), ids], 1)
        opening, closing = _are(ids, self.markers.opening), _are(ids, self.markers.closing)
        answering = _are(ids, self.markers.answering)
        begins = torch.full_like(opening, everywhere) | opening
        stands = torch.where(answering, 2, begins.long())
        opened = _latest(router_state.in_item, stands, opening | closing | answering)
        met = self.match(known, states)
        met = torch.where((opened == 1) & (ids != PAD), met, SAME)
        met = torch.where(opening | closing, torch.full_like(met, OFF), met)
        spoken = _latest(router_state.active, met, met != SAME)
        gates: Gates = {}
        expert_sets = self.expert_sets
        # a GPU need not be waited for to learn which are active, and a captured step cannot be
        present = range(len(expert_sets)) if spoken.is_cuda else spoken.unique().tolist()
        for i in (i for i in present if i >= 0):
            for expert_id in expert_sets[i]:
                gates[expert_id] = gates.get(expert_id, 0) + (spoken == i).float()
        known = known.gather(1, (known != PAD).long().argsort(dim=1, stable=True))
        suffix = known[:, known.shape[1] - self.reach :]
        return gates, RouterState(spoken[:, -1], opened[:, -1], suffix)


def _are(ids: Tensor, wanted: frozenset[int]) -> Tensor:
    return torch.isin(ids, _tensor(wanted, ids.dtype, ids.device))


@lru_cache(maxsize=64)
def _tensor(wanted: frozenset[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(sorted(wanted), dtype=dtype, device=device)


def _latest(before: Tensor, values: Tensor, news: Tensor) -> Tensor:
    """At each token the last of ``values`` that is news, or what was before: (batch, length)."""
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    last = torch.where(news, steps, 0).cummax(1).values
    return torch.cat([before.expand(len(values))[:, None], values], 1).gather(1, last)

"""Routers: which experts are active at which token.

A router sees token ids and hidden states, never a task, a day or a question's kind. A sticky
router's match stays active until the next item begins: the answer to a question about an entity is
written by the experts that know it. The control, :class:`Always`, has every expert active
everywhere.

:class:`Router` also answers for entities (:mod:`sleepgym_agents.experts.entity_names`): which ones
token ids mention, and which experts know them. Routers that do not go by entities know none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.lm.prompts import Prompter

ExpertId = tuple[int, int]  # level, slot
ExpertSet = tuple[ExpertId, ...]  # experts that are active together
Gates = dict[ExpertId, Tensor]
ReadStates = Callable[[Sequence[int]], Tensor]

OFF = -1  # no expert is active
SAME = -2  # as at the token before
PAD = -1  # no token: fills up a batch


@dataclass(frozen=True)
class RouterState:
    """What a router must know of earlier tokens, one row a sequence.

    Attributes:
        active: Index of the expert set that is active at the last token, (batch,).
        in_item: Where the last token is, (batch,): 0 outside items, 1 in a question, 2 in its
            answer.
        suffix: The last token ids, (batch, ``reach``); :data:`PAD` on the left where there are
            fewer.
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

    def fill(
        self, other: RouterState, index: Tensor | None = None, at: Tensor | None = None
    ) -> None:
        """Take over another state in place: all, or its rows ``index`` into the rows ``at``."""
        for own, new in zip(self._parts, other._parts, strict=True):
            if index is None:
                own.copy_(new)
            else:
                own[at] = new[index]

    @property
    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.active, self.in_item, self.suffix


@dataclass(frozen=True)
class Markers:
    """Token ids that mark where items (a question with its answer) are.

    Attributes:
        opening: Begin an item.
        closing: End an item, or begin something else. From these to the next opening one no expert
            is active: documents are read by the bare model.
        answering: Begin an answer. Entities in it do not change which experts are active.
    """

    opening: frozenset[int]
    closing: frozenset[int]
    answering: frozenset[int] = frozenset()

    @classmethod
    def of(cls, prompter: Prompter) -> Markers:
        """The first token of every question opens; other markers, and an answer's end, close.

        Tokens within a question, such as a line end before "Answer:", close nothing.
        """
        one, other = (prompter.question(text) for text in ("x", "y"))
        opening = {token for token in one[:1] if token in other[:1]}
        special = set(prompter.tokenizer.all_special_ids)
        closing = {*special, *prompter.stop[-1:]} - {*one, *other}
        answering = {*one[-1:]} & {*other[-1:]} & special
        return cls(frozenset(opening), frozenset(closing), frozenset(answering))


class Router:
    """Chooses experts, and holds what it needs to choose them.

    Attributes:
        expert_ids: The unlocked experts, in the order they were unlocked.
        markers: Where items begin and end.
        stores: Name of the state file it saves; empty where it saves none.
        each_layer: Whether it routes in every layer with experts, or in the first one for all.
        by_entity: Whether it goes by entities; only then can experts be asked about one.
        by_content: Whether what was practised without documents is learned by its content.
        documents: Whether documents too are routed by their content.
    """

    stores = ""
    each_layer = False
    by_entity = False
    by_content = False
    documents = False

    def __init__(self, markers: Markers) -> None:
        self.expert_ids: list[ExpertId] = []
        self.markers = markers

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """The gate of each expert at each token.

        Args:
            ids: Token ids, (batch, length); :data:`PAD` where there is none.
            states: Input of the layer, (batch, length, width).
            router_state: State after the tokens before these; None at the beginning.
            layer: Index among the layers with experts.

        Returns:
            Gates, (batch, length) each, without the experts that are off everywhere; the new state.
        """
        raise NotImplementedError

    @property
    def key(self) -> Hashable:
        """Changes with what decides which experts are active, the tokens aside."""
        return tuple(self.expert_ids)

    def unlock(self, expert_id: ExpertId) -> None:
        """Add an expert."""
        self.expert_ids.append(expert_id)

    def assign(
        self,
        expert_id: ExpertId,
        entities: Sequence[EntityName],
        texts: Sequence[Sequence[int]] = (),
        read_states: ReadStates | None = None,
    ) -> None:
        """Route entities to an expert, beside those that they are routed to already.

        Args:
            expert_id: The expert.
            entities: Token ids of their names.
            texts: Token ids of questions that mention them.
            read_states: From token ids to the hidden states that the router sees,
                (length, width).
        """

    def release(self, expert_id: ExpertId, entities: Sequence[EntityName]) -> None:
        """No longer route entities to an expert; other experts must know them as well."""

    def entities_in(self, ids: Sequence[int]) -> list[EntityName]:
        """The entities that token ids mention and some expert knows, sorted."""
        return []

    def entities_of(self, expert_ids: Iterable[ExpertId]) -> list[EntityName]:
        """The entities that any of some experts knows, sorted."""
        return []

    def known_by_entity(self, expert_ids: Iterable[ExpertId]) -> list[ExpertId]:
        """Those of some experts of which all that they know can be asked by entities."""
        return []

    def experts_for(self, texts: Iterable[Sequence[int]]) -> set[ExpertId]:
        """The experts that may be active while any of several texts (token ids) is read."""
        return set(self.expert_ids)

    def trained(self, expert_id: ExpertId) -> list[Tensor]:
        """Parameters of the router that are trained together with an expert."""
        return []

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert that is reset, and what is stored for it."""
        self.expert_ids = [other for other in self.expert_ids if other != expert_id]

    def tensors(self) -> dict[str, Tensor]:
        """State to save."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what :meth:`tensors` returned."""


class Always(Router):
    """Every expert is active at every token: the control."""

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """All on."""
        return {
            expert_id: torch.ones(ids.shape, device=ids.device) for expert_id in self.expert_ids
        }, None


class ExpertSets:
    """Sets of experts that may be active together, by number.

    The table that a GPU looks them up in is made once and lives as long as this object: a captured
    step reads it where it was. So two of these are never equal, whatever they hold.

    Args:
        sets: The experts of each set.
    """

    def __init__(self, sets: Sequence[ExpertSet]) -> None:
        self.sets = tuple(sets)
        self.experts = sorted({expert_id for expert_set in self.sets for expert_id in expert_set})
        self._members: dict[torch.device, Tensor] = {}

    def gates(self, active: Tensor) -> Gates:
        """The gate of each expert of any set, looked up at once.

        Args:
            active: Numbers of sets, (batch, length); negative where none is active.
        """
        places = torch.where(active >= 0, active, len(self.sets))
        gates = self._on(active.device)[places].permute(2, 0, 1)
        return dict(zip(self.experts, gates, strict=True))

    def _on(self, device: torch.device) -> Tensor:
        """Which experts each set has, (sets + 1, experts); none last."""
        if device not in self._members:
            with torch.inference_mode(False):
                members = torch.zeros(len(self.sets) + 1, len(self.experts))
                for row, expert_set in enumerate(self.sets):
                    members[row, [self.experts.index(expert_id) for expert_id in expert_set]] = 1.0
                self._members[device] = members.to(device)
        return self._members[device]


class StickyRouter(Router):
    """Experts are active from their match to the end of the item, or to the match of others.

    Attributes:
        reach: How many earlier tokens it takes to match one.
    """

    reach = 0

    def __init__(self, markers: Markers) -> None:
        super().__init__(markers)
        self._alone = ExpertSets(())

    @property
    def expert_sets(self) -> ExpertSets:
        """The sets of experts that may be active together; by default each one alone."""
        alone = tuple((expert_id,) for expert_id in self.expert_ids)
        if self._alone.sets != alone:
            self._alone = ExpertSets(alone)
        return self._alone

    @property
    def key(self) -> Hashable:
        """Experts, and the sets of them: these very ones, whose tensors a captured step reads."""
        return super().key, self.expert_sets

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """Index into ``expert_sets`` of the match at each token, :data:`SAME` where there is none.

        Args:
            ids: Token ids, (batch, ``reach`` + length).
            states: Hidden states of the last ``length`` tokens.
        """
        raise NotImplementedError

    def route(
        self, ids: Tensor, states: Tensor, router_state: RouterState | None, layer: int = 0
    ) -> tuple[Gates, RouterState | None]:
        """The last match since the item began."""
        batch = len(ids)
        everywhere = not self.markers.opening  # items without markers of their own
        if router_state is None:
            begun = ids.new_full((batch,), int(everywhere))
            suffix = ids.new_full((batch, self.reach), PAD)
            router_state = RouterState(ids.new_full((batch,), OFF), begun, suffix)
        known = torch.cat([router_state.suffix.expand(batch, -1), ids], 1)
        opening, closing = _is_any(ids, self.markers.opening), _is_any(ids, self.markers.closing)
        answering = _is_any(ids, self.markers.answering)
        begins = torch.full_like(opening, everywhere) | opening
        position = torch.where(answering, 2, begins.long())
        in_item = _latest(router_state.in_item, position, opening | closing | answering)
        asked = (in_item == 1) & (ids != PAD)
        if ids.is_cuda or bool(asked.any()):
            match = torch.where(asked, self.match(known, states), SAME)
        else:  # only answers are written
            match = torch.full_like(ids, SAME)
        match = torch.where(opening | closing, torch.full_like(match, OFF), match)
        active = _latest(router_state.active, match, match != SAME)
        gates = _gates_of(active, self.expert_sets)
        known = known.gather(1, (known != PAD).long().argsort(dim=1, stable=True))
        suffix = known[:, known.shape[1] - self.reach :]
        return gates, RouterState(active[:, -1], in_item[:, -1], suffix)


def _gates_of(active: Tensor, expert_sets: ExpertSets) -> Gates:
    """The gate of each expert where numbers of expert sets are active; on a CPU only those on.

    A GPU need not be waited for to learn which are on, and a captured step cannot be.
    """
    if active.is_cuda:
        return expert_sets.gates(active)
    gates: Gates = {}
    present = active.unique()
    present = present[present >= 0]
    values = (active == present[:, None, None]).float()
    for i, gate in zip(present.tolist(), values, strict=True):
        for expert_id in expert_sets.sets[i]:
            gates[expert_id] = gates.get(expert_id, 0) + gate
    return gates


def _is_any(ids: Tensor, wanted: frozenset[int]) -> Tensor:
    return torch.isin(ids, _tensor(wanted, ids.dtype, ids.device))


@cache  # and never dropped: captured steps read it where it was
def _tensor(wanted: frozenset[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(sorted(wanted), dtype=dtype, device=device)


def _latest(before: Tensor, values: Tensor, news: Tensor) -> Tensor:
    """At each token the last of ``values`` where ``news`` is true, (batch, length)."""
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    last = torch.where(news, steps, 0).cummax(1).values
    return torch.cat([before.expand(len(values))[:, None], values], 1).gather(1, last)

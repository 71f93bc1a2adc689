"""Expert memory: a pretrained model with levels of experts, unlocked night by night.

The continuum memory system of "Language Models Need Sleep" (arXiv:2606.03979, sections 3.1 and
3.2). Level 1 learns every night; every ``windows[0]`` nights its experts are consolidated into
one new expert of level 2 and reset, and so on. Earlier experts are never trained again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from sleepgym import Settings
from sleepgym.core.rng import derive_seed
from sleepgym_agents.experts.activation import Activation
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.expert import (
    Expert,
    ExpertChain,
    ExpertDtype,
    feed_forward_blocks,
)
from sleepgym_agents.experts.routing import (
    PAD,
    Always,
    ExpertId,
    Gates,
    Markers,
    Router,
    RouterState,
)
from sleepgym_agents.experts.state_routers import Gate, Keys
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.model import LanguageModel


@dataclass(frozen=True)
class MemorySettings(Settings):
    """Settings of :class:`ExpertMemory`.

    Attributes:
        rank: Size of an expert's inner layer (``d_low``; 64 in the paper).
        windows: After how many nights each level but the slowest is consolidated into the next;
            each a multiple of the one before. Empty is one level; (4,) two; (2, 4, 8) four.
        router: Which experts are active: those that know the entity read last (``names``); the
            same, unless the first night finds that content leads more dreams to the texts that they
            are about, or a day of practice has no names to go by (``auto``); by content on all
            days, that of the nearest text (``content``); that of the nearest stored hidden state
            (``keys``), by a learned ``gate``, or ``always`` all.
        key_cosine: Smallest cosine at which the ``keys`` router matches a stored state.
        first_layer: The first layer with experts, as a share of the depth. The layers below compute
            the hidden states that routers see.
        slots: Experts allocated up front in each level; more are allocated when all are unlocked.
        expert_dtype: How an expert's weights are kept and, from the end of its training on, used:
            two bytes each in ``bfloat16``, or one in ``float8`` (E4M3, with a scale for each part
            and inner unit).
    """

    rank: Annotated[int, Ge(1)] = 64
    windows: tuple[Annotated[int, Ge(2)], ...] = ()
    router: Literal["auto", "names", "content", "keys", "gate", "always"] = "auto"
    key_cosine: Annotated[float, Interval(gt=0, lt=1)] = 0.9
    first_layer: Annotated[float, Interval(ge=0, lt=1)] = 0.34
    slots: Annotated[int, Ge(1)] = 8
    expert_dtype: ExpertDtype = "bfloat16"

    def __post_init__(self) -> None:
        super().__post_init__()
        for fast, slow in zip(self.windows, self.windows[1:], strict=False):
            if slow % fast:
                raise ValueError(
                    f"windows={self.windows}: each must be a multiple of the one before it"
                )


class ExpertMemory:
    """Experts inside a language model, and the router that activates them.

    Attributes:
        lm: The language model; its own weights are frozen.
        settings: How the memory grows.
        router: Chooses experts.
        unlocked: The experts in use, in the order they were unlocked.
        mask: Experts that are switched off for now.
    """

    def __init__(self, lm: LanguageModel, settings: MemorySettings, seed: int) -> None:
        self.lm, self.settings, self.seed = lm, settings, seed
        self.mask: set[ExpertId] = set()
        self._ids = torch.empty(0)
        self._router_state: RouterState | None = None
        self._activation = Activation({})
        self._read = torch.empty(0)
        self._forced: ExpertId | None = None
        lm.model.requires_grad_(False)
        lm.decoding_key = lambda: (frozenset(self.mask), self._forced, self.router.key)
        blocks = list(feed_forward_blocks(lm.model))
        first = min(len(blocks) - 1, round(settings.first_layer * len(blocks)))
        levels = len(settings.windows) + 1
        self.chains: list[ExpertChain] = []
        for layer, block in blocks[first:]:
            index = len(self.chains)
            chain = ExpertChain(block, levels, lambda x, index=index: self._ask(index, x))
            layer.mlp = chain
            self.chains.append(chain)
        self.width = lm.model.config.get_text_config().hidden_size
        self.router: Router = self._router()
        for level in range(levels):
            self._allocate(level, settings.slots)
        decoder = lm.model.model
        decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        decoder.register_forward_hook(self._end, with_kwargs=True)

    @property
    def unlocked(self) -> list[ExpertId]:
        """The experts in use, in the order they were unlocked."""
        return self.router.expert_ids

    @property
    def expert_parameters(self) -> int:
        """Parameters of one expert, all layers together."""
        return len(self.chains) * 3 * self.width * self.settings.rank

    @property
    def parameters(self) -> int:
        """Parameters of all unlocked experts."""
        return len(self.unlocked) * self.expert_parameters

    def unlock(self, level: int = 0) -> ExpertId:
        """Unlock one more expert of a level; allocate more where none is left."""
        used = {slot for at, slot in self.unlocked if at == level}
        slot = next(i for i in range(len(used) + 1) if i not in used)
        self._allocate(level, slot + 1)
        expert_id = (level, slot)
        self.router.unlock(expert_id)
        self._count()
        return expert_id

    def restore(self, unlocked: Sequence[ExpertId]) -> None:
        """Unlock the experts that a saved state holds, in their order; their weights follow."""
        loaded = frozenset(unlocked)
        for level, slot in unlocked:
            self._allocate(level, slot + 1, loaded)
            self.router.unlock((level, slot))
        self._count()

    def assign_entities(
        self, expert_id: ExpertId, entities: Sequence[EntityName], texts: Sequence[Sequence[int]]
    ) -> None:
        """Route entities to an expert.

        Args:
            expert_id: The expert.
            entities: Token ids of the names that it knows.
            texts: Token ids of questions that mention them.
        """
        self.router.assign(expert_id, entities, texts, self.read_states)

    def entities_in(self, texts: Iterable[Sequence[int]]) -> list[EntityName]:
        """The entities that any of several texts (token ids) mentions and some expert knows."""
        return sorted({entity for ids in texts for entity in self.router.entities_in(ids)})

    @torch.inference_mode()
    def read_states(self, ids: Sequence[int]) -> Tensor:
        """Hidden states of token ids that the router sees, (length, width); experts are off."""
        start = self.lm.prompter.start
        with self.bare():
            self.lm.model(input_ids=torch.tensor([[*start, *ids]], device=self.lm.device))
        self.lm.meter.read_tokens += len(start) + len(ids)
        return self._read[0, len(start) :]

    def reset(self, expert_id: ExpertId) -> None:
        """Lock an expert again and restore its first weights (synaptic pruning in the paper)."""
        self.router.forget(expert_id)
        self._count()
        for index, expert in enumerate(self.experts(expert_id)):
            expert.load_state_dict(self._new(index, *expert_id).state_dict())

    def is_blank(self, expert_id: ExpertId) -> bool:
        """Whether an expert still is the zero function."""
        return all(not expert.down.any() for expert in self.experts(expert_id))

    def experts(self, expert_id: ExpertId) -> list[Expert]:
        """An expert's part in each layer."""
        level, slot = expert_id
        return [chain.levels[level][slot] for chain in self.chains]  # type: ignore[index]

    @contextmanager
    def training(self, expert_id: ExpertId) -> Iterator[list[Tensor]]:
        """Within this context one expert, and what routes to it, is trainable."""
        experts = self.experts(expert_id)
        parameters: list[Any] = [p for expert in experts for p in expert.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        routed = self.router.trained(expert_id)
        parameters += routed
        try:
            yield parameters
        finally:  # as it is saved
            for parameter in parameters:
                parameter.requires_grad_(False)
            for parameter in routed:
                parameter.data = parameter.data.bfloat16().float()
            for expert in experts:
                expert.unpack(expert.packed(self.settings.expert_dtype))

    @contextmanager
    def masked(self, *expert_ids: ExpertId) -> Iterator[None]:
        """Within this context some experts are off."""
        before = set(self.mask)
        self.mask |= set(expert_ids)
        try:
            yield
        finally:
            self.mask = before

    def bare(self) -> AbstractContextManager[None]:
        """Within this context all experts are off: the base model alone."""
        return self.masked(*self.unlocked)

    def limited_to(self, texts: Iterable[Sequence[int]]) -> AbstractContextManager[None]:
        """Within this context the experts are off that these texts (token ids) cannot activate.

        Reading them gives the same, and costs a GPU no more however many experts there are.
        """
        return self.masked(*set(self.unlocked) - self.router.experts_for(texts))

    @contextmanager
    def force_active(self, expert_id: ExpertId) -> Iterator[None]:
        """Within this context one expert, though masked, is active wherever any would be."""
        self._forced = expert_id
        try:
            yield
        finally:
            self._forced = None

    @contextmanager
    def active(self, expert_id: ExpertId | None) -> Iterator[None]:
        """Within this context one expert is on in every item; None is as entities have it."""
        if not isinstance(self.router, ContentRouter):
            yield
            return
        router, before = self.router, self.router.active
        router.active = expert_id
        try:
            yield
        finally:
            router.active = before

    def ledger(self) -> dict[str, float]:
        """Counts of experts and parameters, for a night's log."""
        log = {
            "experts_unlocked": float(len(self.unlocked)),
            "parameters_unlocked": float(self.parameters),
            "parameters_active": float(self._active()),
        }
        for level in range(len(self.settings.windows) + 1):
            log[f"experts_level_{level + 1}"] = float(sum(at == level for at, _ in self.unlocked))
        return log

    def _active(self) -> int:
        """Expert parameters that a token passes: all only under ``always`` and ``gate``."""
        at_once = len(self.unlocked) if self.settings.router in ("always", "gate") else 1
        return min(at_once, len(self.unlocked)) * self.expert_parameters

    def _count(self) -> None:
        self.lm.extra_parameters["experts"] = self._active()

    def _router(self) -> Router:
        markers = Markers.of(self.lm.prompter)
        if self.settings.router in ("auto", "content"):
            return ContentRouter(markers, 2 * self.width, self.settings.router == "content")
        if self.settings.router == "names":
            return EntityRouter(markers)
        if self.settings.router == "keys":
            return Keys(markers, self.settings.key_cosine, self.width, self.lm.device)
        if self.settings.router == "gate":
            return Gate(markers, len(self.chains), self.width, self.lm.device)
        return Always(markers)

    def _new(self, index: int, level: int, slot: int, blank: bool = False) -> Expert:
        seed = derive_seed(self.seed, "expert", level, slot, index) % 2**63
        generator = None if blank else torch.Generator().manual_seed(seed)
        beside = next(self.chains[index].block.parameters())  # layers may be on several devices
        return Expert(self.width, self.settings.rank, generator, beside.device)

    def _allocate(self, level: int, slots: int, loaded: frozenset[ExpertId] = frozenset()) -> None:
        for index, chain in enumerate(self.chains):
            experts: Any = chain.levels[level]
            experts.extend(
                self._new(index, level, s, (level, s) in loaded) for s in range(len(experts), slots)
            )

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids")
        ids = args[0] if ids is None else ids
        self._ids = _without_padding(ids, kwargs.get("attention_mask"))
        self._router_state = getattr(kwargs.get(cache_argument(module)), "router_state", None)
        segments = kwargs.get("segments") or ()
        if self._router_state is None and segments:
            self._router_state = segments[-1].router_state

    def _end(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        name = cache_argument(module)
        cache = kwargs.get(name)
        if cache is None:
            cache = getattr(output, name, None)
        if cache is not None:
            cache.router_state = self._router_state

    def _ask(self, index: int, x: Tensor) -> Activation:
        if index == 0:
            self._read = x
        if self._forced is None and self.mask.issuperset(self.unlocked):
            return Activation({})  # none is on, wherever the router might want it
        if index == 0:
            gates, self._router_state = self.router.route(self._ids, x, self._router_state, 0)
            self._activation = self._switched(gates)
        elif self.router.each_layer:
            gates, _ = self.router.route(self._ids, x, None, index)
            self._activation = self._switched(gates)
        return self._activation

    def _switched(self, gates: Gates) -> Activation:
        on = {i: gate for i, gate in gates.items() if i not in self.mask}
        if self._forced is not None and gates:
            on[self._forced] = torch.stack(list(gates.values())).amax(0)
        return Activation(on)


def _without_padding(ids: Tensor, mask: Any) -> Tensor:
    """Token ids, :data:`PAD` for those that may not see themselves."""
    if not isinstance(mask, Tensor):
        return ids
    length = ids.shape[1]
    if length == 1:  # a step of decoding has no padding
        return ids
    if mask.dim() == 2:
        return torch.where(mask[:, -length:] > 0, ids, PAD)
    return torch.where(mask[:, 0].diagonal(mask.shape[-1] - length, 1, 2) >= 0, ids, PAD)

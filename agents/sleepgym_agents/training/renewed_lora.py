"""A LoRA adapter for one purpose after the other: it stays, and its weights start anew.

To inject an adapter takes PEFT longer than a small model takes to train it, and what was made for
its parameters, an optimiser or a captured step, goes with it. So the parameters stay, from call to
call if they are small, and are given the numbers that PEFT would draw, from a generator of their
own; where PEFT draws otherwise, an adapter is injected each time. They are drawn by a thread while
the adapter before is in use: millions of random numbers take as long as some training steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import ParkedLora, add_lora, remove_lora, temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.optimise import Trainer


class RenewedLora:
    """An adapter with its trainer, off the model except while it is used; no copy shares it.

    Args:
        settings: Rank and alpha of the adapter; and of the optimiser.
    """

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self._kept: _Kept | None = None

    def __reduce__(self) -> tuple[type, tuple[Any]]:
        return RenewedLora, (self.settings,)

    @contextmanager
    def trainers(self, lm: LanguageModel, seeds: Sequence[int]) -> Iterator[Iterator[Trainer]]:
        """As :func:`sleepgym_agents.lm.lora.temporary_lora`, for several purposes.

        Args:
            lm: The language model, without an adapter.
            seeds: Of the adapter's first weights for each purpose, one at least.

        Yields:
            A trainer for each seed; when it is given out the adapter's weights are those that
            :func:`sleepgym_agents.lm.lora.add_lora` gives with that seed.
        """
        rank, alpha = self.settings.rank, self.settings.alpha
        kept, self._kept = self._kept, None  # an error leaves none
        base = _base(lm)
        kept = kept if kept is not None and kept.base == base else None
        drawn_alike = kept is not None
        with temporary_lora(lm, rank, alpha, seeds[0], parked=kept and kept.parked):
            if kept is None:
                trainer = Trainer(lm, self.settings, capture=True)
                kept = _Kept(base, ParkedLora(lm), FirstWeights(lm), trainer)
                again = len(seeds) > 1 or trainer.is_small  # the adapter serves again
                drawn_alike = again and kept.weights.agree(seeds[0])
            injected = _injected(lm, rank, alpha, seeds, kept.trainer)
            with closing(kept.renewed(seeds) if drawn_alike else injected) as given:
                yield given
        if drawn_alike and kept.trainer.is_small:
            self._kept = kept


@dataclass(frozen=True)
class _Kept:
    """An adapter with what was made for its parameters, and the model that they were made for."""

    base: Any
    parked: ParkedLora
    weights: FirstWeights
    trainer: Trainer

    def renewed(self, seeds: Sequence[int]) -> Iterator[Trainer]:
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.weights.draw, seeds[0])
            for following in [*seeds[1:], None]:
                self.weights.put(coming.result())
                if following is not None:
                    coming = thread.submit(self.weights.draw, following)
                yield self.trainer


def _base(lm: LanguageModel) -> Any:
    """What an adapter and captured steps rely on: modules, and where their tensors are."""
    tensors = [*lm.model.parameters(), *lm.model.buffers()]
    return lm, list(lm.model.named_modules()), [(t.data_ptr(), t.dtype, t.shape) for t in tensors]


class FirstWeights:
    """Draws what PEFT draws for the linear layers of an adapter, and puts it in.

    Args:
        lm: The language model, with an adapter.
    """

    def __init__(self, lm: LanguageModel) -> None:
        from peft.tuners.lora import LoraLayer

        layers = [module for module in lm.model.modules() if isinstance(module, LoraLayer)]
        pairs = [
            (a.weight, b.weight)
            for layer in layers
            for a, b in zip(layer.lora_A.values(), layer.lora_B.values(), strict=True)
        ]
        self.lm = lm
        self.downs, self.ups = [a for a, _ in pairs], [b for _, b in pairs]
        self._shapes = [(a.shape, a.numel() + b.numel()) for a, b in pairs]

    def draw(self, seed: int) -> Tensor:
        """The first matrices of all layers, one after the other; the second ones start from 0.

        It calls nothing of a GPU: a step may be captured meanwhile.
        """
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.empty(sum(shape.numel() for shape, _ in self._shapes))
        at = 0
        for shape, made in self._shapes:
            # The numbers both matrices are made with, and lose: a draw of the generator each.
            torch.empty(made, dtype=torch.uint8).random_(generator=generator)
            part = drawn[at : at + shape.numel()].view(shape)
            torch.nn.init.kaiming_uniform_(part, a=math.sqrt(5), generator=generator)
            at += shape.numel()
        return drawn

    @torch.no_grad()
    def put(self, drawn: Tensor) -> None:
        """Give the adapter the weights that were drawn."""
        there = drawn.to(self.lm.device, self.lm.model.dtype)  # PEFT rounds to the model's type
        parts = there.split([down.numel() for down in self.downs])
        for down, part in zip(self.downs, parts, strict=True):
            down.copy_(part.view_as(down))
        torch._foreach_zero_(self.ups)

    def agree(self, seed: int) -> bool:
        """Whether the adapter, fresh from this seed, has all its weights as drawn here.

        Other kinds of layers and other versions of PEFT may draw otherwise. Nothing is changed.
        """
        weights = named_weights(self.lm.model, "lora_").values()
        fresh = [weight.clone() for weight in weights]
        self.put(self.draw(seed))
        alike = all(weight.equal(value) for weight, value in zip(weights, fresh, strict=True))
        for weight, value in zip(weights, fresh, strict=True):
            weight.copy_(value)
        return alike


def _injected(
    lm: LanguageModel, rank: int, alpha: float, seeds: Sequence[int], trainer: Trainer
) -> Iterator[Trainer]:
    """Take the weights from one adapter after the other, each injected, into the first one's."""
    yield trainer
    for seed in seeds[1:]:
        kept = {name: p for name, p in lm.model.named_parameters() if "lora_" in name}
        remove_lora(lm.model)
        add_lora(lm, rank, alpha, seed)
        for name, parameter in kept.items():
            parameter.data.copy_(lm.model.get_parameter(name))
            owner, _, own = name.rpartition(".")
            setattr(lm.model.get_submodule(owner), own, parameter)
        yield trainer

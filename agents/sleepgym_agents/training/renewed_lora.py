"""A LoRA adapter for one purpose after the other: it stays where it is, and its weights start anew.

To inject an adapter takes PEFT longer than a small model takes to train it, and what was made for
its parameters, an optimiser or a captured step, goes with it. So the parameters stay, and are given
the numbers that PEFT would draw, from a generator of their own. They are drawn by a thread while
the adapter before is in use: millions of random numbers take as long as some training steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import torch
from torch import Tensor

from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import add_lora, remove_lora, temporary_lora
from sleepgym_agents.lm.model import LanguageModel


@contextmanager
def renewed_lora(
    lm: LanguageModel, rank: int, alpha: float, seeds: Sequence[int]
) -> Iterator[Iterator[int]]:
    """As :func:`sleepgym_agents.lm.lora.temporary_lora`, for several purposes.

    Args:
        lm: The language model, without an adapter.
        rank: Of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        seeds: Of the adapter's first weights for each purpose, one at least.

    Yields:
        The seeds; when one of them is given out the adapter's weights are those that
        :func:`sleepgym_agents.lm.lora.add_lora` gives with it, in the same parameters as ever.
    """
    with (
        temporary_lora(lm, rank, alpha, seeds[0]),
        closing(_renewed(lm, rank, alpha, seeds)) as renewed,
    ):
        yield renewed


def _renewed(lm: LanguageModel, rank: int, alpha: float, seeds: Sequence[int]) -> Iterator[int]:
    first, *others = seeds
    weights = FirstWeights(lm)
    drawn_alike = bool(others) and weights.agree(first)
    yield first
    if not drawn_alike:
        for seed in others:
            _inject_again(lm, rank, alpha, seed)
            yield seed
        return
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(weights.draw, others[0])
        for seed, following in zip(others, [*others[1:], None], strict=True):
            drawn = coming.result()
            if following is not None:
                coming = thread.submit(weights.draw, following)
            weights.put(drawn)
            yield seed


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


def _inject_again(lm: LanguageModel, rank: int, alpha: float, seed: int) -> None:
    """Take an adapter's weights from one that is injected anew, into the same parameters."""
    kept = {name: p for name, p in lm.model.named_parameters() if "lora_" in name}
    remove_lora(lm.model)
    add_lora(lm, rank, alpha, seed)
    for name, parameter in kept.items():
        parameter.data.copy_(lm.model.get_parameter(name))
        owner, _, own = name.rpartition(".")
        setattr(lm.model.get_submodule(owner), own, parameter)

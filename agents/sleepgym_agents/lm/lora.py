"""LoRA adapters that come and go: trained for one purpose, then merged or thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sleepgym_agents.lm.checkpoints import add_lora
from sleepgym_agents.lm.model import LanguageModel


@contextmanager
def temporary_lora(
    lm: LanguageModel, rank: int, alpha: float, seed: int, *, merge: bool = False
) -> Iterator[None]:
    """Within this context the model has a LoRA adapter, and nothing else of it is trained.

    Afterwards the adapter is gone and the model has its own modules again: the very same weights,
    or, with ``merge``, those plus the adapter. An exception leaves nothing merged.

    Args:
        lm: The language model, without an adapter.
        rank: Of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        seed: Of the adapter's first weights.
        merge: Whether the adapter is added to the weights at the end.
    """
    trained = [(p, p.requires_grad) for p in lm.model.parameters()]
    add_lora(lm, rank, alpha, seed)
    finished = False
    try:
        yield
        finished = True
    finally:
        _remove(lm.model, merge and finished)
        del lm.extra_parameters["lora"]
        for parameter, was in trained:
            parameter.requires_grad_(was)


def _remove(model: torch.nn.Module, merge: bool) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    found = []
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            found.append((module, model.get_submodule(parent), child))
    for module, parent, child in found:
        if merge:
            module.merge()
        if not isinstance(parent, BaseTunerLayer):  # several stand around one block of experts
            setattr(parent, child, module.get_base_layer())
    del model.peft_config

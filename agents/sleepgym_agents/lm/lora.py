"""LoRA adapters: put into a model for good, or for one purpose and then merged or thrown away."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sleepgym_agents.lm.model import LanguageModel


def add_lora(lm: LanguageModel, rank: int, alpha: float, seed: int) -> None:
    """Put LoRA adapters (Hu et al. 2021) into every linear layer, freezing all else.

    The adapters start as the identity, in single precision whatever the model is in; they go into
    the model itself, which keeps its class.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    config: Any = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.model.modules()),
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        # PEFT's own patterns for mixtures of experts name modules that the model need not have.
        warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys")
        torch.manual_seed(seed)
        inject_adapter_in_model(config, lm.model)
    lm.model.eval()
    lora = [p for name, p in lm.model.named_parameters() if "lora_" in name]
    for parameter in lora:
        parameter.data = parameter.data.float()
    if lm.model.dtype != torch.float32:
        _read_as_they_are(lm.model)
    lm.extra_parameters["lora"] = sum(p.numel() for p in lora)


def _read_as_they_are(model: torch.nn.Module) -> None:
    """Let adapters read states in the model's own type: PEFT keeps a wide copy of each otherwise.

    Those copies are half of what a step of LoRA takes. The product with the first matrix is then in
    the model's type; weights, gradients and what follows stay in single precision.
    """
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.cast_input_dtype_enabled = False
            for adapter in module.lora_A.values():
                adapter.__class__ = _NarrowLinear


class _NarrowLinear(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight.to(x.dtype)).float()


@contextmanager
def temporary_lora(
    lm: LanguageModel,
    rank: int,
    alpha: float,
    seed: int,
    *,
    merge: bool = False,
    parked: ParkedLora | None = None,
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
        parked: An adapter of the same model, to be put back with its weights in place of a new one.
    """
    trained = [(p, p.requires_grad) for p in lm.model.parameters()]
    if parked is None:
        add_lora(lm, rank, alpha, seed)
    else:
        parked.put_back(lm)
    finished = False
    try:
        yield
        finished = True
    finally:
        remove_lora(lm.model, merge=merge and finished)
        del lm.extra_parameters["lora"]
        for parameter, was in trained:
            parameter.requires_grad_(was)


class ParkedLora:
    """The layers of an adapter, to be put over the same modules of a model again.

    Args:
        lm: The language model, with the adapter; it stays there.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._layers = dict(_outermost(lm.model))
        self._trained = [p for p in lm.model.parameters() if p.requires_grad]
        self._config = lm.model.peft_config
        self._parameters = lm.extra_parameters["lora"]

    def put_back(self, lm: LanguageModel) -> None:
        """Do what :func:`add_lora` did, with the weights that the adapter has by now."""
        lm.model.requires_grad_(False)
        for name, layer in self._layers.items():
            lm.model.set_submodule(name, layer)
        for parameter in self._trained:
            parameter.requires_grad_(True)
        lm.model.peft_config = self._config
        lm.extra_parameters["lora"] = self._parameters
        lm.model.eval()


def remove_lora(model: torch.nn.Module, *, merge: bool = False) -> None:
    """Give the model its own modules again; with ``merge``, the adapter added to their weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    outermost = list(_outermost(model))
    if merge:
        for module in list(model.modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
    for name, module in outermost:
        model.set_submodule(name, module.get_base_layer())
    del model.peft_config


def _outermost(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Layers of an adapter with their names; of several around one block of experts the outer."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            parent = model.get_submodule(name.rpartition(".")[0])
            if not isinstance(parent, BaseTunerLayer):
                yield name, module

"""The agent that adds an adapter a day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from sleepgym import Night
from sleepgym.core.errors import BadRun
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning, FinetuningSettings
from sleepgym_agents.baselines.trained_weights import LoraSettings
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.lm.lora import add_lora, temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.optimise import (
    Batch,
    Example,
    cross_entropy,
    learned,
    optimise,
    plan,
)

Adapter = dict[str, Tensor]


@dataclass(frozen=True)
class LoraPerDaySettings(LoraSettings, FinetuningSettings):
    """Settings of :class:`LoraPerDay`: those of the other fine-tuning agents, and an adapter's."""

    learning_rate: float = 5e-3
    rank: int = 8
    alpha: float = 16.0


class LoraPerDay(Finetuning):
    """Trains a new LoRA adapter every night; the base and all older adapters stay as they are.

    The baseline "IncLoRA" of O-LoRA (Wang et al. 2023, arXiv:2310.14152): low-rank adapters (Hu et
    al. 2021, through PEFT), one more a task, with no constraint between them. All of them act on
    every question. The saved state is the adapters.

    Departures:
        1. While one adapter is trained, the older ones are merged into the weights: the same
           function at the cost of one adapter, and rebuilt from the base so that nothing drifts.

    Attributes:
        adapters: By day, ``<module>.A`` (rank, inputs) and ``<module>.B`` (outputs, rank).
    """

    Config: ClassVar[type] = LoraPerDaySettings
    title: ClassVar[str] = "A LoRA a day"
    sources: ClassVar[str] = "IncLoRA in Wang et al. 2023, arXiv:2310.14152"
    checked: ClassVar[str] = "the merged model equals PEFT with all adapters active"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-3, 2e-3, 5e-3, 1e-2],
        "epochs": [5, 10, 20],
        "batch_size": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
        "rank": [4, 8, 16],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.adapters: list[Adapter] = []

    @property
    def added_parameters(self) -> int:
        """Parameters of all adapters."""
        return sum(p.numel() for adapter in self.adapters for p in adapter.values())

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Train a new adapter on the day."""
        add_lora(self.lm, self.config.rank, self.config.alpha, night.derive_seed("lora"))
        self.start()
        steps = plan(self.lm, examples, self.config, derive_rng(night.derive_seed("order")))
        log = optimise(self.lm, steps, self.config, night, self.loss(), capture=True)
        if learned(log):
            self.adapters.append(new_adapter(self.lm.model))
        self._rebuild()
        return log

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train a new adapter on the day, then forget its text."""
        return {**super().sleep(night), "adapters": float(len(self.adapters))}

    def start(self) -> None:
        """Set the new adapter's first weights; as PEFT drew them unless overridden."""

    def loss(self) -> Callable[[torch.nn.Module, Batch], Tensor]:
        """What the night minimises."""
        return cross_entropy

    def save(self, path: Path) -> None:
        """Write the adapters."""
        tensors = {
            f"{day}.{name}": p.contiguous().cpu()
            for day, adapter in enumerate(self.adapters)
            for name, p in adapter.items()
        }
        if tensors:
            save_file(tensors, path / "adapters.safetensors")

    def load(self, path: Path) -> None:
        """Read the adapters.

        Raises:
            BadRun: If the file is not one of adapters to this model.
        """
        file = path / "adapters.safetensors"
        if not file.is_file():
            return
        by_day: dict[int, Adapter] = {}
        for key, p in read_tensors(file).items():
            day, _, name = key.partition(".")
            by_day.setdefault(int(day), {})[name] = p.to(self.lm.device)
        self.adapters = [by_day[day] for day in sorted(by_day)]
        try:
            self._rebuild()
        except ValueError as error:
            raise BadRun(f"{file}: adapters of another model") from error

    def _rebuild(self) -> None:
        """The base model with all adapters merged, in their order."""
        self.lm = LanguageModel.load(self.model, self.seed, self.meter)
        for adapter in self.adapters:
            with temporary_lora(self.lm, self.config.rank, self.config.alpha, 0, merge=True):
                parts = new_parts(self.lm.model)
                shapes = {name: p.shape for name, p in parts.items()}
                if shapes != {name: p.shape for name, p in adapter.items()}:
                    raise ValueError("adapters of another model")
                with torch.no_grad():
                    for name, p in parts.items():
                        p.copy_(adapter[name])


def new_parts(model: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters of the adapter in training, by the names that :class:`LoraPerDay` uses."""
    found = {}
    for name, p in model.named_parameters():
        for part in "AB":
            module, mark, _ = name.partition(f".lora_{part}.")
            if mark:
                found[f"{module}.{part}"] = p
    return found


def new_adapter(model: torch.nn.Module) -> Adapter:
    """A copy of the adapter in training."""
    return {name: p.detach().clone() for name, p in new_parts(model).items()}

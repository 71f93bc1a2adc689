"""The naive agent with an adapter instead of all weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sleepgym_agents.baselines.finetuning.finetuning import FinetuningSettings
from sleepgym_agents.baselines.finetuning.naive import Naive
from sleepgym_agents.baselines.trained_weights import LoraSettings, TrainedWeights


@dataclass(frozen=True)
class NaiveLoraSettings(LoraSettings, FinetuningSettings):
    """Settings of :class:`NaiveLora`: those of the other fine-tuning agents, and the adapter's."""


class NaiveLora(Naive):
    """Fine-tunes one LoRA adapter, further every night; the base weights stay as they are.

    As :class:`Naive`, with low-rank adapters (Hu et al. 2021, through PEFT) in every linear layer.
    Rank 32 and alpha 64 are those of SEAL's inner loop (Zweiger et al. 2025). The saved state is
    the adapter.

    Departures:
        1. SEAL merges the adapter after each edit and starts a new one; here one adapter grows on.
    """

    Config: ClassVar[type] = NaiveLoraSettings

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed, self.config.rank, self.config.alpha)

"""The naive agent with an adapter instead of all weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sleepgym_agents.baselines.finetuning.finetuning import FinetuningSettings
from sleepgym_agents.baselines.finetuning.naive import Naive
from sleepgym_agents.baselines.trained_weights import LoraSettings


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
    title: ClassVar[str] = "Fine-tuning, one LoRA"
    sources: ClassVar[str] = "Hu et al. 2021; SEAL's inner loop, Zweiger et al. 2025"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-3, 2e-3, 5e-3, 1e-2],
        "epochs": [5, 10, 20],
        "batch_size": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
        "rank": [8, 32, 64],
    }

"""The naive agent with an adapter instead of all weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.finetuning.naive import Naive, NaiveSettings
from sleepgym_agents.lm.checkpoints import add_lora, named_weights


@dataclass(frozen=True)
class NaiveLoraSettings(NaiveSettings):
    """Settings of :class:`NaiveLora`: those of :class:`Naive`, and the adapter's.

    Attributes:
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
    """

    rank: Annotated[int, Ge(1)] = 32
    alpha: Annotated[float, Gt(0)] = 64.0


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
    saved: ClassVar[str] = "lora_"

    @property
    def added_parameters(self) -> int:
        """Parameters of the adapter; 0 before the first night with material."""
        return self._adapter_size if self.learned else 0

    def prepare(self) -> None:
        """Put the adapter in, once."""
        if not self._adapter_size:
            add_lora(self.lm, self.config.rank, self.config.alpha, derive_seed(self.seed, "lora"))

    @property
    def _adapter_size(self) -> int:
        return sum(p.numel() for p in named_weights(self.lm.model, self.saved).values())

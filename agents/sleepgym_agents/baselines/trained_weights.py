"""What an agent trains of its language model, and how that is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from sleepgym import Settings
from sleepgym.core.rng import derive_seed
from sleepgym_agents.lm.checkpoints import add_lora, load_weights, named_weights, save_weights
from sleepgym_agents.lm.model import LanguageModel

FILE = "weights.safetensors"
LORA = "lora_"  # part of the name of every parameter of an adapter


@dataclass(frozen=True)
class OptionalLoraSettings(Settings):
    """All weights, or a LoRA adapter.

    Attributes:
        rank: Rank of a LoRA adapter in every linear layer; 0 trains all weights.
        alpha: The adapter's output is scaled by ``alpha / rank``.
    """

    rank: Annotated[int, Ge(0)] = 0
    alpha: Annotated[float, Gt(0)] = 64.0


@dataclass(frozen=True)
class LoraSettings(OptionalLoraSettings):
    """A LoRA adapter.

    Attributes:
        rank: Rank of a LoRA adapter in every linear layer.
    """

    rank: Annotated[int, Ge(1)] = 32


class TrainedWeights:
    """All weights of a language model, or one LoRA adapter that grows on from night to night.

    Args:
        lm: The language model.
        seed: The agent's; the adapter's first weights derive from it.
        rank: Rank of the adapter in every linear layer; 0 trains all weights.
        alpha: The adapter's output is scaled by ``alpha / rank``.

    Attributes:
        learned: Whether anything was ever trained; before that nothing is saved.
    """

    def __init__(self, lm: LanguageModel, seed: int, rank: int = 0, alpha: float = 64.0) -> None:
        self.lm = lm
        self.seed = seed
        self.rank = rank
        self.alpha = alpha
        self.learned = False

    def prepare(self) -> None:
        """Put the adapter in, once; call it before training."""
        if self.rank and not self._adapter_parameters:
            add_lora(self.lm, self.rank, self.alpha, derive_seed(self.seed, "lora"))

    @property
    def added_parameters(self) -> int:
        """Parameters of the adapter; 0 without one, and before the first training."""
        return self._adapter_parameters if self.learned else 0

    def save(self, path: Path) -> None:
        """Write what was trained into the folder ``path``; nothing before the first training."""
        if self.learned:
            save_weights(self.lm.model, path / FILE, self._names)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote."""
        if (path / FILE).is_file():
            self.prepare()
            load_weights(self.lm.model, path / FILE, self._names)
            self.learned = True

    @property
    def _names(self) -> str:
        return LORA if self.rank else ""

    @property
    def _adapter_parameters(self) -> int:
        return sum(p.numel() for p in named_weights(self.lm.model, LORA).values())

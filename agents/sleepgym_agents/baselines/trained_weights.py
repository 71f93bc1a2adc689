"""What an agent trains of its language model, and how that is saved."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Gt

from sleepgym import Settings
from sleepgym.core.errors import BadSetting
from sleepgym.core.rng import derive_seed
from sleepgym_agents.lm.checkpoints import load_weights, named_weights, save_weights
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel

FILE = "weights.safetensors"
LORA = "lora_"  # part of the name of every parameter of an adapter
DISK_COPIES = 2  # of a state, while it is saved: what the agent writes, and what the run keeps
TRAINING_COPIES = 5  # weights, gradients, two moments, and the evening's weights
SAID_BYTES = 10**9  # from which size on a state's size is said
log = logging.getLogger(__name__)


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

    Raises:
        BadSetting: If all weights are to be trained, and the disk or the GPU cannot hold that.

    Attributes:
        learned: Whether anything was ever trained; before that nothing is saved.
    """

    def __init__(self, lm: LanguageModel, seed: int, rank: int = 0, alpha: float = 64.0) -> None:
        self.lm = lm
        self.seed = seed
        self.rank = rank
        self.alpha = alpha
        self.learned = False
        if not rank:
            foretell_whole_weights(lm)

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


def foretell_whole_weights(lm: LanguageModel) -> None:
    """Say what it takes to train and to save all weights; refuse what there is no room for.

    A night saves them once, into the folder of temporary files, and the run keeps the last night's
    alone. Training holds gradients, two moments and the evening's weights beside them.

    Raises:
        BadSetting: If the disk or the GPU is too small.
    """
    size = lm.model.get_memory_footprint(return_buffers=False)
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    least = "set rank (a LoRA adapter), an agent such as naive-lora, or a smaller --model"
    what = f"the state of this agent is all weights, {size / 1e9:.2f} GB"
    if disk < DISK_COPIES * size:
        raise BadSetting(
            f"{what}: saving takes {DISK_COPIES * size / 1e9:.1f} GB of {tempfile.gettempdir()}, "
            f"which has {disk / 1e9:.1f} GB free; set TMPDIR to a larger disk, or {least}"
        )
    if lm.device.type == "cuda":
        there = torch.cuda.get_device_properties(lm.device).total_memory
        if TRAINING_COPIES * size > there:
            raise BadSetting(
                f"{what}: training takes {TRAINING_COPIES * size / 1e9:.0f} GB of the GPU, which "
                f"has {there / 1e9:.0f} GB; {least}"
            )
    if size > SAID_BYTES:
        log.info("%s, kept once: the last night's", what)

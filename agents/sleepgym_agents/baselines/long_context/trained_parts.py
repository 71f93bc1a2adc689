"""What an agent needs that was trained once beside a base model: shipped, or in the cache.

A part fits one base model, by the digest of its weights. ``sleepgym prepare-agent NAME --model
MODEL`` trains it for another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sleepgym.core.errors import MissingData
from sleepgym.runs.models.cache import cache_folder
from sleepgym_agents.lm.checkpoints import base_digest
from sleepgym_agents.lm.model import LanguageModel

SHIPPED = Path(__file__).parent / "trained"
CARD = "card"


@dataclass(frozen=True)
class TrainedPart:
    """Tensors that were trained beside a base model.

    Attributes:
        tensors: By name.
        card: How they were trained, and what was measured: JSON values.
    """

    tensors: Mapping[str, Tensor]
    card: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        tensors = {name: p.detach().contiguous().cpu() for name, p in self.tensors.items()}
        save_file(tensors, partial, metadata={CARD: json.dumps(self.card)})
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> TrainedPart:
        """Read what :meth:`save` wrote.

        Raises:
            MissingData: If the file is damaged.
        """
        try:
            with safe_open(path, "pt") as file:
                card = json.loads((file.metadata() or {})[CARD])
                return cls({name: file.get_tensor(name) for name in file.keys()}, card)  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise MissingData(f"{path}: not a readable trained part ({error!r:.80})") from error


def cached_file(agent: str, digest: str) -> Path:
    """Where the part of an agent for a base model of this digest is written."""
    return cache_folder() / "prepared" / _file_name(agent, digest)


def part_file(agent: str, digest: str) -> Path:
    """Where it is read: the shipped one, if there is one, so that it is the same everywhere."""
    shipped = SHIPPED / _file_name(agent, digest)
    return shipped if shipped.is_file() else cached_file(agent, digest)


def _file_name(agent: str, digest: str) -> str:
    return f"{agent}-{digest[:16]}.safetensors"


def trained_part(agent: str, model: str, lm: LanguageModel) -> TrainedPart | None:
    """The part of an agent for a base model; None for ``scratch``, which has learned nothing.

    Args:
        agent: The agent's registered name.
        model: What the user called the base model.
        lm: The base model as it was loaded.

    Raises:
        MissingData: If it was not trained yet, or is damaged.
    """
    if model == "scratch":
        return None
    path = part_file(agent, base_digest(lm.model))
    if not path.is_file():
        raise MissingData(
            f"agent {agent} has no part trained for model {model!r}: "
            f"run `sleepgym prepare-agent {agent} --model {model}`"
        )
    return TrainedPart.load(path)

"""A dreamer: a LoRA adapter that was trained to write dreams which help.

Its folder holds ``dreamer.json`` (the base model's digest, how the dreamer was trained, and the
results of every round) and the adapter of the last round. Agents with the setting ``dreamer`` write
their dreams with it; :mod:`sleepgym_agents.outer_loops.dreamer` trains it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sleepgym.core.errors import BadRun, BadSetting
from sleepgym_agents.lm.checkpoints import base_digest, named_weights, read_tensors
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel

CARD = "dreamer.json"
FORMAT = 1


@dataclass(frozen=True)
class Dreamer:
    """A trained dreamer.

    Attributes:
        folder: Where it was loaded from.
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        tensors: The adapter's weights, by their names in the base model without experts.
    """

    folder: Path
    rank: int
    alpha: float
    tensors: Mapping[str, Tensor]

    @classmethod
    def load(cls, folder: str | Path, lm: LanguageModel) -> Dreamer:
        """Load a dreamer that was trained on this base model.

        Args:
            folder: Written by ``sleepgym train-dreamer``.
            lm: The base model, before experts are added to it.

        Raises:
            BadSetting: If the folder holds no trained dreamer, or one of another base model.
        """
        folder = Path(folder).expanduser()
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            made_for, adapter = str(card["base"]), card["adapter"]
            rank, alpha = int(card["training"]["rank"]), float(card["training"]["alpha"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadSetting(
                f"dreamer={folder}: must be a folder that `sleepgym train-dreamer` wrote "
                f"({CARD}: {type(error).__name__})"
            ) from error
        if not adapter:
            raise BadSetting(f"dreamer={folder}: no round of it rewarded a dream; train it further")
        own = base_digest(lm.model)
        if made_for != own:
            raise BadSetting(
                f"dreamer={folder}: was trained on another base model "
                f"({card.get('model')}, digest {made_for:.8}, not {own:.8})"
            )
        try:
            return cls(folder, rank, alpha, read_tensors(folder / str(adapter)))
        except BadRun as error:
            raise BadSetting(f"dreamer={folder}: {error}") from error


@contextmanager
def dreamer_adapter(lm: LanguageModel, dreamer: Dreamer | None) -> Iterator[None]:
    """Within this context the model has the dreamer's adapter, if there is a dreamer.

    Experts beside the model's blocks stay in place, so that a random one can be active.
    """
    if dreamer is None:
        yield
        return
    with temporary_lora(lm, dreamer.rank, dreamer.alpha, seed=0):
        own = {_bare_name(name): p for name, p in named_weights(lm.model, "lora_").items()}
        shapes = {name: p.shape for name, p in own.items()}
        if shapes != {name: t.shape for name, t in dreamer.tensors.items()}:
            raise BadSetting(f"dreamer={dreamer.folder}: its adapter does not fit the model")
        for name, p in own.items():
            p.copy_(dreamer.tensors[name])
        yield


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write ``dreamer.json`` atomically."""
    partial = folder / f"{CARD}.part"
    partial.write_text(json.dumps({"format": FORMAT, **card}, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / CARD)


def _bare_name(name: str) -> str:
    """A parameter's name in a model without experts."""
    return name.replace(".mlp.block.", ".mlp.")

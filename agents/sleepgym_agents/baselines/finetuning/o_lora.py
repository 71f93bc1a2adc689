"""The agent whose adapters are orthogonal to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines.finetuning.lora_per_day import (
    LoraPerDay,
    LoraPerDaySettings,
    new_parts,
)
from sleepgym_agents.training.optimise import Batch, cross_entropy


@dataclass(frozen=True)
class OLoraSettings(LoraPerDaySettings):
    """Settings of :class:`OLora`: those of :class:`LoraPerDay`, and the penalty's.

    Attributes:
        orthogonality: Weight of the squared products between new and old adapters (lambda 1).
    """

    orthogonality: Annotated[float, Ge(0)] = 5.0


class OLora(LoraPerDay):
    """Trains a new LoRA adapter every night, orthogonal to the subspaces of all older ones.

    O-LoRA (Wang et al. 2023, "Orthogonal subspace learning for language model continual
    learning", arXiv:2310.14152): the loss gains ``orthogonality`` times the sum over layers and
    older adapters of the squared entries of ``A_old A_new^T``, the products of their input
    directions. Older adapters are frozen and all act, as in :class:`LoraPerDay`.

    Departures:
        1. A new adapter also starts orthogonal to the older ones: a night has tens of steps where
           the paper has thousands.
        2. Squares as in the paper's formula; its code sums absolute values. The weight is 5 where
           the paper has 0.5, because the learning rate is higher, too.
        3. Without the paper's second penalty, on the new adapter's size (lambda 2), which its
           settings mostly leave at 0.
    """

    Config: ClassVar[type] = OLoraSettings
    title: ClassVar[str] = "O-LoRA"
    sources: ClassVar[str] = "Wang et al. 2023, arXiv:2310.14152"
    checked: ClassVar[str] = (
        "penalty equals the paper's formula; subspaces of two nights nearly orthogonal"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-3, 2e-3, 5e-3, 1e-2],
        "epochs": [5, 10, 20],
        "items_per_sequence": [1, 3, 6],
        "rank": [4, 8, 16],
        "orthogonality": [0.5, 5.0, 50.0],
    }

    def start(self) -> None:
        """Move the new input directions out of the span of the older ones.

        Raises:
            BadSetting: If a layer has no direction left.
        """
        for name, p in new_parts(self.lm.model).items():
            old = self._old(name)
            if not name.endswith(".A") or not len(old):
                continue
            room = p.shape[1] - len(old)
            if room < len(p):
                raise BadSetting(
                    f"rank={len(p)}: {len(self.adapters)} adapters leave {room} directions in "
                    f"{name[:-2]}; set rank to {p.shape[1] // (len(self.adapters) + 1)} or less"
                )
            with torch.no_grad():
                span = torch.linalg.qr(old.T.float()).Q
                p.sub_((p.float() @ span @ span.T).to(p.dtype))

    def loss(self) -> Callable[[torch.nn.Module, Batch], Tensor]:
        """Cross-entropy plus the penalty."""
        old = {name: self._old(name) for name in new_parts(self.lm.model) if name.endswith(".A")}

        def penalised(model: torch.nn.Module, batch: Batch) -> Tensor:
            overlap = orthogonality_penalty(new_parts(model), old)
            return cross_entropy(model, batch) + self.config.orthogonality * overlap

        return penalised

    def _old(self, name: str) -> Tensor:
        """The older adapters' matrices of one layer, stacked: (adapters * rank, inputs)."""
        stacked = [adapter[name] for adapter in self.adapters]
        return torch.cat(stacked) if stacked else torch.zeros(0)


def orthogonality_penalty(new: dict[str, Tensor], old: dict[str, Tensor]) -> Tensor:
    """Sum over layers of the squared entries of ``A_old A_new^T``.

    Args:
        new: Layer -> (rank, inputs), in training; other entries are ignored.
        old: Layer -> (directions, inputs); no entry or an empty one costs nothing.
    """
    products = [(old[name] @ new[name].T).square().sum() for name in old if len(old[name])]
    return torch.stack(products).sum() if products else torch.zeros(())

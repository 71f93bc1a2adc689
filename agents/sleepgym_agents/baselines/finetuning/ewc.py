"""The agent that penalises changes of important weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Interval
from safetensors.torch import save_file
from torch import Tensor

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning, FinetuningSettings
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.lm.checkpoints import named_weights, read_tensors
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.optimise import (
    Batch,
    Example,
    collate,
    cross_entropy,
    learned,
    optimise,
    pack_sequences,
    plan,
)
from sleepgym_agents.training.pseudo_rehearsal import sample_unconditional, seed_prompts

Fisher = dict[str, Tensor]
BIRTH_TOKENS = 128


@dataclass(frozen=True)
class EwcSettings(FinetuningSettings):
    """Settings of :class:`Ewc`: those of the other fine-tuning agents, and the penalty's.

    Attributes:
        penalty: Strength of the quadratic penalty (lambda).
        decay: Weight of the older Fisher information when a day's is added (gamma).
        birth_sequences: Sequences the model samples before its first night to estimate what
            mattered at birth; 0 leaves that unprotected.
    """

    penalty: Annotated[float, Ge(0)] = 20.0
    decay: Annotated[float, Interval(ge=0, le=1)] = 0.95
    birth_sequences: Annotated[int, Ge(0)] = 64


class Ewc(Finetuning):
    """Fine-tunes all weights under a penalty on changes of those that mattered before.

    Elastic weight consolidation (Kirkpatrick et al. 2017), in its online form (Schwarz et al. 2018,
    "Progress & Compress"): the loss gains ``penalty / 2 * sum_i F_i (w_i - w_i')^2``, where w' are
    the evening's weights and F is the diagonal of the Fisher information, ``decay`` times the older
    one plus that of the day, added after each night. The saved state is the weights and F.

    Departures:
        1. The model comes pretrained and its data is not at hand. F at birth is the mean over
           sequences that the model samples itself (the true Fisher information at its own
           distribution).
        2. A day's F is the empirical one: gradients of the log-likelihood of the day's own tokens.
    """

    Config: ClassVar[type] = EwcSettings
    title: ClassVar[str] = "EWC, online"
    sources: ClassVar[str] = "Kirkpatrick et al. 2017; online: Schwarz et al. 2018"
    checked: ClassVar[str] = (
        "Fisher equals per-example gradients by `torch.func`; penalty and gradient exact"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "items_per_sequence": [1, 3, 6],
        "penalty": [5.0, 20.0, 100.0, 500.0],
        "decay": [0.9, 0.95, 1.0],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed)
        self.fisher: Fisher = {}

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Train on the day under the penalty, then add the day's Fisher information."""
        if not self.weights.learned and not self._protect_birth(night):
            return {"steps": 0.0, "stopped_by_budget": 1.0}
        rng = derive_rng(night.derive_seed("order"))
        loss = penalised(self.lm.model, self.fisher, self.config.penalty)
        steps = plan(self.lm, examples, self.config, rng)
        log = optimise(self.lm, steps, self.config, night, loss)
        if learned(log):
            self.weights.learned = True
            self._add(self._pieces(examples, rng), night)
        return log

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As fine-tuning; and the Fisher information of the birth and of every day."""
        birth = config.birth_sequences * BIRTH_TOKENS
        added = Cost(generated=birth, trained=birth + scale.day_tokens)
        return super().estimate(config, scale) + added

    def save(self, path: Path) -> None:
        """Write the weights and the Fisher information."""
        super().save(path)
        if self.weights.learned:
            tensors = {name: f.contiguous().cpu() for name, f in self.fisher.items()}
            save_file(tensors, path / "fisher.safetensors")

    def load(self, path: Path) -> None:
        """Read the weights and the Fisher information."""
        super().load(path)
        if self.weights.learned:
            tensors = read_tensors(path / "fisher.safetensors")
            self.fisher = {name: f.to(self.lm.device) for name, f in tensors.items()}

    def _protect_birth(self, night: Night) -> bool:
        """Estimate what mattered at birth; False where the budget does not allow it."""
        count = self.config.birth_sequences
        if not count or self.fisher:
            return True
        self._add(
            sample_unconditional(
                self.lm, seed_prompts(self.lm.prompter), count, BIRTH_TOKENS, night
            ),
            night,
        )
        return bool(self.fisher)

    def _add(self, examples: Sequence[Example], night: Night) -> None:
        """Add the Fisher information of sequences to the decayed older one."""
        new = fisher_information(self.lm, examples, night)
        for name, f in new.items():
            self.fisher[name] = f + self.config.decay * self.fisher.get(name, torch.zeros(()))

    def _pieces(self, day: Sequence[Example], rng: np.random.Generator) -> list[Example]:
        """The day's items, each a sequence of its own."""
        start = self.lm.prompter.start
        tokens = min(self.config.sequence_tokens, self.lm.max_tokens - len(start))
        return pack_sequences(day, start, rng, 1, tokens)


def fisher_information(lm: LanguageModel, examples: Sequence[Example], night: Night) -> Fisher:
    """Diagonal of the Fisher information: the mean over sequences of squared gradients.

    Args:
        lm: The model.
        examples: Sequences; the gradient is that of the log-likelihood of all tokens whose weight
            is not 0, summed over a sequence. Sequences without such a token are left out.
        night: Its budget is asked before each sequence; the others are left out.

    Returns:
        Parameter name -> tensor of its shape, at least 0; empty where no sequence counted.
    """
    parameters = dict(lm.model.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    counted = 0
    for example in examples:
        batch = collate([example], lm.device)
        flops = 6 * lm.parameters * batch.tokens
        if not night.allows(night_train_tokens=batch.tokens, night_flops=flops):
            break
        tokens = (batch.weights[:, 1:] > 0).sum()
        if not tokens:
            continue
        (cross_entropy(lm.model, batch) * tokens).backward()
        lm.meter.train_tokens += batch.tokens
        lm.meter.flops += flops
        counted += 1
        with torch.no_grad():
            for name, p in parameters.items():
                sums[name] += 0 if p.grad is None else p.grad.square()
        lm.model.zero_grad(set_to_none=True)
    return {name: total / counted for name, total in sums.items()} if counted else {}


def penalised(
    model: torch.nn.Module, fisher: Fisher, penalty: float
) -> Callable[[torch.nn.Module, Batch], Tensor]:
    """Cross-entropy plus ``penalty / 2 * sum_i F_i (w_i - w_i')^2``, w' being the weights now."""
    anchor = {name: p.clone() for name, p in named_weights(model).items()}

    def loss(model: torch.nn.Module, batch: Batch) -> Tensor:
        parameters = dict(model.named_parameters())
        moved = [
            (f * (parameters[name] - anchor[name]).square()).sum() for name, f in fisher.items()
        ]
        held = torch.stack(moved).sum() if moved else torch.zeros((), device=batch.ids.device)
        return cross_entropy(model, batch) + penalty / 2 * held

    return loss

"""The agent whose memories learn at several speeds, by gradient alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from safetensors.torch import save_file
from torch import Tensor, nn

from sleepgym import Night
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning
from sleepgym_agents.baselines.in_context import InContextSettings
from sleepgym_agents.experts.activation import Activation
from sleepgym_agents.experts.expert import Expert, ExpertChain, feed_forward_blocks
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.training.optimise import (
    Example,
    PackingSettings,
    collate,
    cross_entropy,
    plan,
)


@dataclass(frozen=True)
class ContinuumSettings(PackingSettings, InContextSettings):
    """Settings of :class:`Continuum`.

    Attributes:
        learning_rate: Root mean square of what one update changes a matrix by.
        weight_decay: Share by which each update shrinks a matrix.
        chunks: After how many steps each level is updated, fastest first; each a multiple of the
            one before.
        rank: Size of the inner layer of a level's memory in every block.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "warmup_share": None,
        "warmup_ratio": None,
        "max_gradient_norm": None,
    }

    learning_rate: Annotated[float, Gt(0)] = 2e-3
    weight_decay: Annotated[float, Interval(ge=0, le=1)] = 0.0
    items_per_sequence: int = 2
    batch_size: int = 1
    chunks: tuple[Annotated[int, Ge(1)], ...] = (1, 4, 16)
    rank: Annotated[int, Ge(1)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.chunks:
            raise ValueError(
                "chunks is empty: name one number of steps a level, for example 1,4,16"
            )
        for fast, slow in zip(self.chunks, self.chunks[1:], strict=False):
            if slow % fast:
                raise ValueError(
                    f"chunks={self.chunks}: each must be a multiple of the one before it"
                )


class Continuum(Finetuning):
    """Small memories beside every feed-forward block, updated by gradient at their own frequency.

    A continuum memory system without distillation, as in Hope (Behrouz et al. 2025, "Nested
    Learning"): a chain of blocks of which level ``l`` is updated only at every ``chunks[l]``-th
    step, by the gradient accumulated since its last update. The steps go over the day's raw
    documents and practised questions, in sequence, and are counted over the agent's whole life.
    The pretrained model is the slowest level and is never updated. The saved state is the
    memories, the gradients that wait for their update, and the count.

    Departures:
        1. Hope is pretrained with its levels; here they are added to a pretrained model, as
           low-rank blocks that start as the identity.
        2. Hope learns while it reads; here the steps are made in the night, where they are
           metered, and the day's text is read in context until then.
        3. An update is the accumulated gradient of a matrix scaled to a fixed root mean square;
           Hope's optimiser keeps moments of its own.

    Attributes:
        steps: Steps made so far.
        waiting: The gradient of each memory since its last update.
    """

    Config: ClassVar[type] = ContinuumSettings
    title: ClassVar[str] = "Continuum memory"
    sources: ClassVar[str] = "Hope: Behrouz et al. 2025"
    checked: ClassVar[str] = "level l changes at multiples of its chunk only; one update by hand"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [1e-3, 2e-3, 5e-3],
        "epochs": [5, 10, 20],
        "items_per_sequence": [1, 2, 6],
        "chunks": [[1, 4, 16], [1, 2, 4], [1, 8, 64]],
        "rank": [32, 64],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.steps = 0
        self.lm.model.requires_grad_(False)
        self.memories = nn.ModuleList(nn.ModuleList() for _ in self.config.chunks)
        width = self.lm.model.config.get_text_config().hidden_size
        for layer, block in list(feed_forward_blocks(self.lm.model)):
            chain = ExpertChain(block, len(self.config.chunks), self._activation)
            for level, experts in enumerate(chain.levels):
                name = derive_seed(seed, "memory", level, len(self.memories[level])) % 2**63
                generator = torch.Generator().manual_seed(name)
                expert = Expert(width, self.config.rank, generator)
                experts.append(expert.to(self.lm.device, self.lm.model.dtype))
                self.memories[level].append(expert)
            layer.mlp = chain
        self.waiting = {n: torch.zeros_like(p) for n, p in self.memories.named_parameters()}

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Step through the day's material, then forget its text."""
        return {"steps": 0.0, **super().sleep(night), **self._updates()}

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Step through the day's material."""
        log: dict[str, float] = {}
        evening = self._state()
        losses = []
        rng = derive_rng(night.derive_seed("order"))
        self.memories.requires_grad_(True)
        for step in plan(self.lm, examples, self.config, rng):
            batch = collate(step, self.lm.device)
            flops = 6 * self.lm.parameters * batch.tokens
            if not night.allows(night_train_tokens=batch.tokens, night_flops=flops):
                log["stopped_by_budget"] = 1.0
                break
            loss = cross_entropy(self.lm.model, batch)
            loss.backward()
            self.meter.train_tokens += batch.tokens
            self.meter.flops += flops
            self.step()
            losses.append(loss.item())
        self.memories.requires_grad_(False)
        if not all(tensor.isfinite().all() for tensor in self._state().values()):
            self._restore(evening)
            log["nan_loss"] = 1.0
        elif losses:
            log |= {"steps": float(len(losses)), "loss": losses[-1]}
        return log

    @torch.no_grad()
    def step(self) -> None:
        """Count a step: keep its gradients, and update the levels whose chunk is full."""
        self.steps += 1
        for name, parameter in self.memories.named_parameters():
            if parameter.grad is not None:
                self.waiting[name] += parameter.grad
                parameter.grad = None
            if self.steps % self.config.chunks[int(name.split(".")[0])] == 0:
                size = self.waiting[name].square().mean().sqrt().clamp(min=1e-12)
                parameter.mul_(1 - self.config.weight_decay)
                parameter.sub_(self.waiting[name] / size * self.config.learning_rate)
                self.waiting[name].zero_()

    @property
    def added_parameters(self) -> int:
        """Parameters of all memories; 0 before the first step."""
        return sum(p.numel() for p in self.memories.parameters()) if self.steps else 0

    def save(self, path: Path) -> None:
        """Write memories, waiting gradients that are not zero, and the count."""
        if self.steps:
            save_file(self._state(), path / "memories.safetensors")

    def load(self, path: Path) -> None:
        """Read memories, waiting gradients and the count."""
        if (path / "memories.safetensors").is_file():
            self._restore(read_tensors(path / "memories.safetensors"))

    def _updates(self) -> dict[str, float]:
        names = range(1, len(self.config.chunks) + 1)
        counts = [self.steps // chunk for chunk in self.config.chunks]
        return {f"updates_level_{n}": float(c) for n, c in zip(names, counts, strict=True)}

    def _activation(self, x: Tensor) -> Activation:
        levels = range(len(self.config.chunks))
        return Activation({(level, 0): x.new_ones(x.shape[:2]) for level in levels})

    def _state(self) -> dict[str, Tensor]:
        memories = {n: p.detach().clone().cpu() for n, p in self.memories.named_parameters()}
        waiting = {f"waiting.{n}": g.clone().cpu() for n, g in self.waiting.items() if g.any()}
        return {**memories, **waiting, "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def _restore(self, state: Mapping[str, Tensor]) -> None:
        self.steps = int(state["steps"])
        for name, parameter in self.memories.named_parameters():
            parameter.copy_(state[name])
            self.waiting[name].zero_()
            if f"waiting.{name}" in state:
                self.waiting[name].copy_(state[f"waiting.{name}"])

"""The agent with a neural memory that learns while the day's text passes by once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Interval
from safetensors.torch import save_file
from torch import Tensor, nn

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning
from sleepgym_agents.baselines.in_context import InContextSettings
from sleepgym_agents.baselines.other.neural_memory import NeuralMemory
from sleepgym_agents.experts.expert import feed_forward_blocks
from sleepgym_agents.lm.attention import causal_attention
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.training.optimise import Example

FILE = "memory.safetensors"
MEMORY_PASSES = 10  # operations a parameter of the memory and token: forward 2, backward 4, twice


@dataclass(frozen=True)
class TitansSettings(InContextSettings):
    """Settings of :class:`Titans`.

    Attributes:
        rate: Step size of the memory (theta), per token.
        momentum: Share of the past surprise that stays at each token (eta).
        forgetting: Share of the memory that each token takes away (alpha).
        chunk_tokens: Tokens whose gradients are taken at once.
        inner: Size of the memory's inner layer.
        depth: Which feed-forward block the memory stands beside: 0 is the first, 1 the last.
        gate: Length of what the memory adds where it is certain, in lengths of what the block
            beside it adds.
    """

    rate: Annotated[float, Gt(0)] = 0.05
    momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.9
    forgetting: Annotated[float, Interval(ge=0, lt=1)] = 1e-4
    chunk_tokens: Annotated[int, Ge(1)] = 4
    inner: Annotated[int, Ge(1)] = 1024
    depth: Annotated[float, Interval(ge=0, le=1)] = 0.7
    gate: Annotated[float, Gt(0)] = 1.0


class BlockWithGate(nn.Module):
    """A pretrained feed-forward block and a gated branch that reads a memory.

    Attributes:
        block: The pretrained block, frozen.
        memory: What the branch reads.
        gate: Length of a full read-out, in lengths of the block's own output.
        open: Whether the branch adds anything.
        seen: The keys of what is read, where they are recorded: a list of (batch, length, width).
    """

    def __init__(self, block: nn.Module, memory: NeuralMemory, gate: float) -> None:
        super().__init__()
        self.block, self.memory, self.gate = block, memory, gate
        self.open = False
        self.seen: list[Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """States (batch, length, width) after both."""
        out = self.block(x)
        if self.seen is not None:
            self.seen.append(as_keys(x))
        if not self.open:
            return out
        size = out.float().norm(dim=-1, keepdim=True)
        return out + (self.gate * size * self.memory(as_keys(x))).to(out.dtype)


def as_keys(x: Tensor) -> Tensor:
    """States (..., width) as keys of the memory, of length 1."""
    return nn.functional.normalize(x.float(), dim=-1)


class Titans(Finetuning):
    """A perceptron learns, by gradient and once through, to tell from a state what came next.

    A Titans-like long-term memory (Behrouz et al. 2025, arXiv:2501.00663). The memory M is a small
    network whose weights change while text passes by: by the gradient of the associative loss
    ``|M(k) - v|^2``, which is large where the text is surprising, with momentum (past surprise)
    and forgetting (weight decay); the recurrences are exactly the paper's. Attention over the day
    in context is the short-term memory. What M returns for the state at a token is added beside a
    feed-forward block of the frozen model (the paper's gated branch). Nothing is trained in
    advance, and the saved state has the same size after every night: M and its momentum.

    Departures:
        1. A Titan is pretrained as a whole. Here the model is, without a memory, and stays as it
           is; projections of keys, values and queries, and the gates, are not learned but fixed:
           key and query are the input of the feed-forward block, the value is the direction of the
           head that writes the next token (centred, of length 1), and rate, momentum and
           forgetting are the same at every token.
        2. The key of one token goes with the value of the next one, as the paper's short
           convolutions over keys and values allow it to learn.
        3. The branch adds to the output of one block, scaled to its length; in the paper it
           multiplies that of attention in every layer. There are no persistent tokens.
        4. Titans learn while they read; here the day passes by in the night, where learning is
           metered, and is read in context until then. Each document is read by itself.

    Attributes:
        memory: The neural memory.
        branch: Where the model reads it.
    """

    Config: ClassVar[type] = TitansSettings
    title: ClassVar[str] = "Titans memory"
    sources: ClassVar[str] = "Titans: Behrouz et al. 2025, arXiv:2501.00663"
    checked: ClassVar[str] = "chunks equal the paper's recurrences token by token; constant size"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "rate": [0.02, 0.05, 0.2],
        "momentum": [0.0, 0.5, 0.9],
        "forgetting": [0.0, 1e-4, 1e-3],
        "inner": [512, 1024, 2048],
        "depth": [0.5, 0.7, 1.0],
        "gate": [0.5, 1.0, 2.0],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.lm.model.requires_grad_(False)
        blocks = list(feed_forward_blocks(self.lm.model))
        layer, block = blocks[round(self.config.depth * (len(blocks) - 1))]
        width = self.lm.model.config.get_text_config().hidden_size
        generator = torch.Generator().manual_seed(derive_seed(seed, "memory") % 2**63)
        memory = NeuralMemory(width, self.config.inner, generator)
        self.memory = memory.to(next(block.parameters()).device)
        self.branch = BlockWithGate(block, self.memory, self.config.gate)
        layer.mlp = self.branch
        self.lm.extra_parameters["memory"] = self._size
        self.lm.decoding_key = lambda: self.branch.open
        self._mean: Tensor | None = None

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As in context; and the memory learns from every token of the day once."""
        return super(Finetuning, cls).estimate(config, scale) + Cost(trained=scale.day_tokens)

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Let the day pass by, in order."""
        evening = {name: p.clone() for name, p in self.memory.named_parameters()}
        log, losses = {"chunks": 0.0}, []
        most = self.lm.max_tokens - len(self.lm.prompter.start)
        for ids, counts in pieces(examples, self.lm.prompter.start, most):
            flops = 2 * self.lm.parameters * len(ids) + MEMORY_PASSES * self._size * len(ids)
            if not night.allows(night_train_tokens=len(ids), night_flops=flops):
                log["stopped_by_budget"] = 1.0
                break
            keys, values = self.associations(ids)
            self.lm.meter.train_tokens += len(ids)
            self.lm.meter.flops += flops
            where = torch.tensor(counts[1:], device=keys.device) > 0
            losses += self._write(keys[where], values[where])
            log["chunks"] += math.ceil(int(where.sum()) / self.config.chunk_tokens)
        if not all(p.isfinite().all() for p in self.memory.parameters()):
            for name, p in self.memory.named_parameters():
                p.copy_(evening[name])
            return {**log, "nan_loss": 1.0}
        if losses:
            self.branch.open = True
            log["surprise"] = float(torch.cat(losses).mean())
        return log

    @torch.no_grad()
    def associations(self, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Keys of all tokens but the last, and values of those that follow: (tokens, width)."""
        self.branch.seen = []
        batch = torch.tensor([ids], device=self.lm.device)
        with causal_attention(self.lm.model):
            self.lm.model(input_ids=batch, use_cache=False, logits_to_keep=1)
        (keys,), self.branch.seen = self.branch.seen, None
        head = self.lm.model.get_output_embeddings().weight
        if self._mean is None:
            self._mean = head.float().mean(0)
        rows = head[batch[0, 1:].to(head.device)].float() - self._mean
        return keys[0, :-1], nn.functional.normalize(rows, dim=-1).to(keys.device)

    @property
    def added_parameters(self) -> int:
        """Numbers of the memory, without its momentum; 0 before the first night."""
        return self._size if self.branch.open else 0

    def save(self, path: Path) -> None:
        """Write the memory and its momentum."""
        if self.branch.open:
            parameters = self.memory.named_parameters()
            save_file({n: p.detach().cpu() for n, p in parameters}, path / FILE)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Read the memory and its momentum."""
        if (path / FILE).is_file():
            tensors = read_tensors(path / FILE)
            for name, p in self.memory.named_parameters():
                p.copy_(tensors[name])
            self.branch.open = True

    @property
    def _size(self) -> int:
        return sum(weight.numel() for weight in self.memory.weights)

    def _write(self, keys: Tensor, values: Tensor) -> list[Tensor]:
        config = self.config
        chunks = zip(
            keys.split(config.chunk_tokens), values.split(config.chunk_tokens), strict=True
        )
        gates = (config.rate, config.momentum, config.forgetting)
        return [self.memory.write(k, v, *gates) for k, v in chunks if len(k)]


def pieces(
    examples: Sequence[Example], start: Sequence[int], most: int
) -> list[tuple[list[int], list[float]]]:
    """Each example by itself behind the start marker, cut where it is too long, in order."""
    return [
        ([*start, *e.ids[at : at + most]], [*[0.0] * len(start), *e.weights[at : at + most]])
        for e in examples
        for at in range(0, len(e.ids), most)
    ]

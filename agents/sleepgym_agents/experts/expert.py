"""Low-rank experts beside the feed-forward blocks of a pretrained model.

Parameter expansion of "Language Models Need Sleep" (arXiv:2606.03979, section 3.2): every chosen
feed-forward block becomes a chain of levels, the fastest first, each a sparse mixture of small
experts. Experts are allocated up front and do nothing until they are unlocked.

Departures:
    1. The pretrained block is the slowest level. Every level reads the block's own input and not
       what the faster levels make of it: ``y = mlp(x) + sum of what each level adds to x``. So
       nothing that a slower level computes for old text changes when a faster one learns, and a
       level without an active expert adds nothing.
    2. An expert is gated like the blocks of the models it serves (SwiGLU): three matrices, not two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sleepgym.core.errors import BadSetting
from sleepgym_agents.experts.activation import Activation

PARTS = ("gate_proj", "up_proj", "down_proj")
ExpertDtype = Literal["bfloat16", "float8"]
MOST_INNER = 2**26  # numbers of an inner layer that are held at once, all experts together
_LARGEST = 448.0  # of the numbers of float8 (E4M3)
_LEAST = 2.0**-100  # largest weight of a unit that is taken for 0


class Expert(nn.Module):
    """A feed-forward block of low rank that starts as the zero function, in single precision.

    Args:
        width: Size of the hidden states.
        rank: Size of the inner layer (``d_low`` in the paper).
        generator: Draws the first weights; None where they are to be loaded.
        device: Where the weights are.
    """

    def __init__(
        self,
        width: int,
        rank: int,
        generator: torch.Generator | None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if generator is None:
            first = [torch.zeros(rank, width, device=device) for _ in range(2)]
        else:
            drawn = (torch.randn(rank, width, generator=generator) for _ in range(2))
            first = [(weight * width**-0.5).to(device) for weight in drawn]
        self.gate, self.up = (nn.Parameter(weight, requires_grad=False) for weight in first)
        down = torch.zeros(width, rank, device=device)
        self.down = nn.Parameter(down, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """The expert's addition to states (tokens, width)."""
        return nn.functional.linear(self.inner(x), self.down.to(x.dtype))

    def inner(self, x: Tensor) -> Tensor:
        """The inner layer, (tokens, rank)."""
        gate, up = (weight.to(x.dtype) for weight in (self.gate, self.up))
        return nn.functional.silu(nn.functional.linear(x, gate)) * nn.functional.linear(x, up)

    def packed(self, dtype: ExpertDtype) -> dict[str, Tensor]:
        """The weights as they are kept: see :func:`pack`."""
        return pack([self], dtype)[0]

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`packed` returned."""
        unpack([self], [tensors])

    def by_unit(self) -> dict[str, Tensor]:
        """Each part as (rank, width)."""
        return {"gate": self.gate, "up": self.up, "down": self.down.T}


@torch.no_grad()
def pack(experts: Sequence[Expert], dtype: ExpertDtype) -> list[dict[str, Tensor]]:
    """The weights of experts of one rank on one device, as they are kept.

    In float8 those of an inner unit are divided, part by part, by the smallest power of two that
    brings the largest into range; what was rounded once is rounded to the same again. All are
    computed at once, which a GPU does as fast as those of one.

    Returns:
        Of each expert its parts under their names; of float8 as (rank, width), and ``scales``,
        (3, rank).
    """
    if dtype == "bfloat16":
        return [{n: p.detach().bfloat16() for n, p in e.named_parameters()} for e in experts]
    parts = [expert.by_unit() for expert in experts]
    weights = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    largest = torch.stack([weight.abs().amax(-1) for weight in weights.values()], 1)
    scales = torch.exp2((largest.clamp(min=_LEAST) / _LARGEST).log2().ceil())
    kept = {"scales": scales.bfloat16()}
    for at, (name, weight) in enumerate(weights.items()):
        kept[name] = (weight / scales[:, at, :, None]).to(torch.float8_e4m3fn)
    kept = {name: tensor.cpu() for name, tensor in kept.items()}
    return [{n: kept[n][i] for n in (*weights, "scales")} for i in range(len(experts))]


@torch.no_grad()
def unpack(experts: Sequence[Expert], kept: Sequence[Mapping[str, Tensor]]) -> None:
    """Give experts of one rank on one device the weights that :func:`pack` returned."""
    if "scales" not in kept[0]:
        for expert, tensors in zip(experts, kept, strict=True):
            for name, p in expert.named_parameters():
                p.copy_(tensors[name])
        return
    like = experts[0].gate
    scales = torch.stack([tensors["scales"] for tensors in kept]).to(like)[..., None]
    for at, name in enumerate(experts[0].by_unit()):
        eight = torch.stack([tensors[name].view(torch.uint8) for tensors in kept])
        weights = eight.to(like.device).view(torch.float8_e4m3fn).to(like) * scales[:, at]
        for expert, weight in zip(experts, weights, strict=True):
            expert.by_unit()[name].copy_(weight)


class ExpertChain(nn.Module):
    """A pretrained feed-forward block with levels of experts beside it.

    Attributes:
        block: The pretrained block, frozen.
        levels: Experts of each level, fastest level first.
        activation: From this layer's input to which experts are on, and where.
        observer: Sees each level's number, what is on, its input, and what it adds; None is nobody.
    """

    def __init__(
        self, block: nn.Module, levels: int, activation: Callable[[Tensor], Activation]
    ) -> None:
        super().__init__()
        self.block = block
        self.levels = nn.ModuleList(nn.ModuleList() for _ in range(levels))
        self.activation = activation
        self.observer: Callable[[int, Activation, Tensor, Tensor], None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """States (batch, length, width) after the block and the active experts."""
        active = self.activation(x)
        if not active.gates:
            return self.block(x)
        z = x
        for level in range(len(self.levels)):
            if active.at(level):
                added = self._added(level, active, x)
                if self.observer:
                    self.observer(level, active, x, added)
                z = z + added
        return self.block(x) + (z - x)

    def _added(self, level: int, active: Activation, z: Tensor) -> Tensor:
        experts: Any = self.levels[level]
        if z.is_cuda:  # waiting to learn where it is active costs more than it saves
            slots, gates = active.stacked(level)
            return added_by_all([experts[slot] for slot in slots], gates, z)
        states = z.flatten(0, 1)
        added = torch.zeros_like(states)
        for slot, tokens, gate in active.tokens(level):
            added.index_add_(0, tokens, experts[slot](states[tokens]) * gate.to(z.dtype))
        return added.view_as(z)


def added_by_all(experts: Sequence[Expert], gates: Tensor, z: Tensor) -> Tensor:
    """What several experts add to all states, each times its gate: as one wide expert.

    A GPU launches as many kernels for all of them as for one.

    Args:
        experts: One or more, of one rank.
        gates: Of each expert at each token, (batch * length, experts).
        z: States, (batch, length, width).
    """
    gate, up = (
        torch.cat([getattr(expert, part) for expert in experts]).to(z) for part in ("gate", "up")
    )
    down = torch.cat([expert.down for expert in experts], 1).to(z)
    most = max(1, MOST_INNER // len(gate))
    parts = []
    for x, weight in zip(z.flatten(0, 1).split(most), gates.to(z).split(most), strict=True):
        inner = nn.functional.silu(nn.functional.linear(x, gate)) * nn.functional.linear(x, up)
        gated = inner.view(len(x), len(experts), -1) * weight[..., None]
        parts.append(nn.functional.linear(gated.flatten(1), down))
    return torch.cat(parts).view_as(z)


def feed_forward_blocks(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Each layer of a decoder and its feed-forward block, in order.

    Raises:
        BadSetting: If the model's layers have no gated block named ``mlp``, as those of the Llama,
            Qwen, Gemma and Mistral families have.
    """
    layers = getattr(getattr(model, "model", model), "layers", None)
    found = [(layer, getattr(layer, "mlp", None)) for layer in layers or ()]
    odd = [mlp for _, mlp in found if not all(hasattr(mlp, part) for part in PARTS)]
    if not found or odd:
        shape = type(odd[0]).__name__ if odd else "no layers"
        raise BadSetting(
            f"model={type(model).__name__}: experts need layers with an `mlp` of {', '.join(PARTS)}"
            f" (Llama, Qwen, Gemma, Mistral); found {shape}"
        )
    for layer, mlp in found:
        assert isinstance(mlp, nn.Module)
        yield layer, mlp

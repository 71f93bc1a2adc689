"""A neural memory: weights that learn associations by gradient while they are used."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class NeuralMemory(nn.Module):
    """A perceptron of two layers that starts as the zero function, and the momentum of its updates.

    Titans (Behrouz et al. 2025, arXiv:2501.00663): at each token, with the
    loss ``l(M; k, v) = |M(k) - v|^2``,

        S_t = momentum * S_(t-1) - rate * grad l(M_(t-1); k_t, v_t)
        M_t = (1 - forgetting) * M_(t-1) + S_t

    Keys and queries have length 1, as in the paper.

    Args:
        width: Size of keys and values.
        inner: Size of the inner layer.
        generator: Draws the first weights.

    Attributes:
        weights: (inner, width) and (width, inner), in single precision, M.
        surprise: Of the same shapes, S.
    """

    def __init__(self, width: int, inner: int, generator: torch.Generator) -> None:
        super().__init__()
        first = torch.randn(inner, width, generator=generator)  # keys have length 1
        last = torch.zeros(width, inner)
        self.weights = nn.ParameterList(
            [nn.Parameter(w, requires_grad=False) for w in (first, last)]
        )
        self.surprise = nn.ParameterList(
            [nn.Parameter(torch.zeros_like(w), requires_grad=False) for w in (first, last)]
        )

    def forward(self, keys: Tensor) -> Tensor:
        """What is associated with keys (..., width)."""
        return recalled(list(self.weights), keys)

    def losses(self, keys: Tensor, values: Tensor) -> Tensor:
        """How far off the memory is at each of (tokens, width) keys: (tokens,)."""
        return (self(keys) - values).square().sum(-1)

    def write(
        self, keys: Tensor, values: Tensor, rate: float, momentum: float, forgetting: float
    ) -> Tensor:
        """Take in one chunk of associations, in order.

        As in the paper's parallel form, all gradients of a chunk are taken at its beginning; the
        recurrences run token by token. With constant gates both are sums of the chunk's gradients,
        each with its own weight: two backward passes, whatever the length.

        Args:
            keys: (tokens, width).
            values: (tokens, width).
            rate: Step size (theta).
            momentum: Share of the past surprise that stays (eta).
            forgetting: Share of the memory that each token takes away (alpha).

        Returns:
            The losses before, (tokens,).
        """
        tokens, kept = len(keys), 1 - forgetting
        ages = torch.arange(tokens - 1, -1, -1, dtype=torch.float64)
        to_surprise = momentum**ages
        to_weights = torch.stack(list(carried(tokens, momentum, kept))).flip(0)
        with torch.enable_grad():
            weights = [w.detach().clone().requires_grad_(True) for w in self.weights]
            losses = (recalled(weights, keys) - values).square().sum(-1)
            mine = [factors.to(losses) for factors in (to_weights, to_surprise)]
            moves = torch.autograd.grad((losses * mine[0]).sum(), weights, retain_graph=True)
            news = torch.autograd.grad((losses * mine[1]).sum(), weights)
        past = float(momentum * to_weights[0])
        with torch.no_grad():
            pairs = zip(self.weights, self.surprise, moves, news, strict=True)
            for weight, surprise, move, new in pairs:
                weight.mul_(kept**tokens).add_(surprise, alpha=past).sub_(move, alpha=rate)
                surprise.mul_(momentum**tokens).sub_(new, alpha=rate)
        return losses.detach()


def recalled(weights: list[Tensor], keys: Tensor) -> Tensor:
    """The perceptron's output for keys (..., width); its inner layer has a length of about 1."""
    inner = nn.functional.silu(nn.functional.linear(keys, weights[0]))
    return nn.functional.linear(inner * len(weights[0]) ** -0.5, weights[1])


def carried(tokens: int, momentum: float, kept: float) -> Iterator[Tensor]:
    """What a gradient of age 0, 1, ... has added to the memory since: ``sum_i kept^i eta^(a-i)``.

    Args:
        tokens: How many ages.
        momentum: Share of the surprise that stays at each token (eta).
        kept: Share of the memory that stays at each token.
    """
    total, share = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    for _ in range(tokens):
        total = kept * total + share
        yield total
        share = share * momentum

"""Muon for the hidden matrices: momentum, made orthogonal, matrices of one shape at once."""

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, quintic Newton-Schulz


def orthogonalize(update: Tensor, steps: int = 5) -> Tensor:
    """Bring the singular values of a stack of matrices near one."""
    a, b, c = COEFFICIENTS
    x = update.bfloat16()
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon:
    """Momentum with orthogonal updates and decoupled weight decay.

    Args:
        parameters: Two-dimensional parameters.
        momentum: Decay of the running gradient.
        weight_decay: Share of a weight taken off at learning rate 1.
    """

    def __init__(
        self, parameters: Iterable[Tensor], momentum: float = 0.95, weight_decay: float = 0.05
    ) -> None:
        groups: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            groups.setdefault(parameter.shape, []).append(parameter)
        self._groups = list(groups.values())
        self._momenta = [torch.zeros_like(torch.stack(group)) for group in self._groups]
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._update = torch.compile(self._direction) if self._on_gpu() else self._direction

    def _on_gpu(self) -> bool:
        return self._groups[0][0].is_cuda

    def _direction(self, gradient: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        momentum = momentum.lerp(gradient, 1 - self._momentum)
        nesterov = gradient.lerp(momentum, self._momentum)
        scale = 0.2 * max(gradient.shape[-2:]) ** 0.5
        return orthogonalize(nesterov).float() * scale, momentum

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the parameters by their gradients at this learning rate."""
        for i, group in enumerate(self._groups):
            gradient = torch.stack([parameter.grad for parameter in group])
            update, self._momenta[i] = self._update(gradient, self._momenta[i])
            torch._foreach_mul_(group, 1 - rate * self._weight_decay)
            torch._foreach_add_(group, list(update.unbind()), alpha=-rate)

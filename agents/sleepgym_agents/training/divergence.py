"""Divergences between a teacher's and a student's next-token distributions.

Generalised knowledge distillation (Agarwal et al. 2024), as TRL computes it: tests hold the values
and gradients equal to TRL's ``generalized_jsd_loss``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Divergence = Literal["forward", "reverse", "jsd"]


def divergence(teacher: Tensor, student: Tensor, kind: Divergence, beta: float = 0.5) -> Tensor:
    """How far the student is from the teacher, in nats, a value a token.

    Args:
        teacher: Log-probabilities, (tokens, vocabulary); no gradient flows into them.
        student: Log-probabilities, (tokens, vocabulary).
        kind: ``forward`` is KL(teacher || student), ``reverse`` KL(student || teacher), ``jsd`` the
            generalised Jensen-Shannon divergence.
        beta: Share of the teacher in the mixture of ``jsd``.
    """
    teacher = teacher.detach()
    if kind == "forward":
        return _kl(teacher, student)
    if kind == "reverse":
        return _kl(student, teacher)
    shares = torch.tensor([beta, 1 - beta], dtype=student.dtype, device=student.device).log()
    mixture = torch.logsumexp(torch.stack([teacher + shares[0], student + shares[1]]), 0)
    return beta * _kl(teacher, mixture) + (1 - beta) * _kl(student, mixture)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(q, p, reduction="none", log_target=True).sum(-1)

"""One optimiser step; on a GPU captured once for each shape of a batch, and replayed.

A step of a small model costs a GPU milliseconds and Python a hundred: some thousand kernels, each
launched by hand. A CUDA graph launches loss, gradients, clipping and AdamW at once. The first batch
is stepped as usual, so that whatever is made once has been made; then each shape is captured when
it is first seen, which takes no longer than to launch its kernels. Steps that keep the GPU busy for
as long as that are not captured. What a step does is the same in both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sleepgym_agents.lm.attention import causal_attention
from sleepgym_agents.lm.model import LanguageModel

GRAPHS = 8  # shapes of batches that are captured; others are stepped as usual
BUSY_FLOPS = 2e13  # an H100 takes as long for so many as its launches take
Loss = Callable[[torch.nn.Module, Any], Tensor]
Term = Callable[[Tensor], Tensor]  # from the loss of a batch to what is minimised instead
log = logging.getLogger(__name__)


class TrainingStep:
    """Takes optimiser steps on batches.

    Args:
        lm: Its model is trained.
        loss: From model and batch to a scalar.
        parameters: What is trained.
        optimiser: Of these.
        max_norm: Gradients are clipped to this norm.
        capture: Whether steps may be captured: only if the loss is a function of the batch's
            tensors that waits for none of their values.
    """

    def __init__(
        self,
        lm: LanguageModel,
        loss: Loss,
        parameters: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        max_norm: float,
        capture: bool,
    ) -> None:
        self.lm, self.loss, self.optimiser = lm, loss, optimiser
        self.parameters, self.max_norm = parameters, max_norm
        self.capture = capture
        self._begun = False
        self._refused: set[tuple[torch.Size, ...]] = set()
        self._graphs: dict[tuple[torch.Size, ...], _Captured] = {}
        self._pool: Any = None

    def __call__(self, batch: Any, term: Term | None = None) -> Tensor:
        """Step once.

        Args:
            batch: A dataclass.
            term: Makes what is minimised of the loss; None leaves it as it is.

        Returns:
            The loss and the norm of its gradients, before clipping, (2,).
        """
        if not self.capture or term is not None or keeps_busy(self.lm, batch.tokens):
            return self._step(batch, term)
        shapes = tuple(tensor.shape for tensor in tensors_of(batch))
        if shapes not in self._graphs:
            if not self._begun or len(self._graphs) == GRAPHS:
                return self._step(batch, None)
            try:
                self._graphs[shapes] = self._captured(batch)
            except RuntimeError as error:  # a shape's first step may make what its second one has
                if shapes in self._refused:
                    reason = str(error).partition("\n")[0]
                    log.warning("training steps are not captured: %s", reason)
                    self.capture = False
                self._refused.add(shapes)
                self.optimiser.zero_grad(set_to_none=True)
                return self._step(batch, None)
        return self._graphs[shapes].replay(batch)

    def _step(self, batch: Any, term: Term | None) -> Tensor:
        self._begun = True
        with causal_attention(self.lm.model):
            value = self.loss(self.lm.model, batch)
        if term is not None:
            value = term(value)
        if value.requires_grad:  # some batches reach no trained parameter
            value.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return torch.stack([value.detach().float(), norm.detach().float().to(value.device)])

    def _captured(self, batch: Any) -> _Captured:
        own = with_tensors(batch, iter([tensor.clone() for tensor in tensors_of(batch)]))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            result = self._step(own, None)
        self._pool = graph.pool()
        return _Captured(graph, list(tensors_of(own)), result)


def keeps_busy(lm: LanguageModel, tokens: int) -> bool:
    """Whether a GPU computes a step of so many tokens for as long as its kernels are launched."""
    return 6 * lm.parameters * tokens > BUSY_FLOPS


class _Captured:
    """A captured step, the tensors that it reads, and where it leaves its result."""

    def __init__(
        self, graph: torch.cuda.CUDAGraph, tensors: Sequence[Tensor], result: Tensor
    ) -> None:
        self.graph, self.tensors, self.result = graph, tensors, result

    def replay(self, batch: Any) -> Tensor:
        for own, given in zip(self.tensors, tensors_of(batch), strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.result.clone()


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """The tensors among the fields of a dataclass, and of dataclasses among them, in order."""
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            yield value
        elif is_batch(value):
            yield from tensors_of(value)


def with_tensors(batch: Any, tensors: Iterator[Tensor]) -> Any:
    """The same dataclass with other tensors, in the order of :func:`tensors_of`."""
    changes: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = next(tensors)
        elif is_batch(value):
            changes[field.name] = with_tensors(value, tensors)
    return replace(batch, **changes)


def is_batch(value: Any) -> bool:
    """Whether a field is a part of a batch: what tokens it has, and not who teaches them."""
    return is_dataclass(value) and hasattr(value, "tokens")

"""A captured training step, without a GPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sleepgym_agents.training.training_step import TrainingStep, tensors_of, with_tensors


class Replayed:
    """What a graph does, without one: the step again, on the tensors that were given to it."""

    def __init__(self, step: TrainingStep, batch: Any) -> None:
        self.own = with_tensors(batch, iter([tensor.clone() for tensor in tensors_of(batch)]))
        self.step, self.replays = step, 0

    def replay(self, batch: Any) -> Tensor:
        for own, given in zip(tensors_of(self.own), tensors_of(batch), strict=True):
            own.copy_(given)
        self.replays += 1
        return self.step._step(self.own, None)

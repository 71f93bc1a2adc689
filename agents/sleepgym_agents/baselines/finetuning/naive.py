"""The agent that fine-tunes on the day and forgets the days before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.training.optimise import Example, learned, optimise, plan


class Naive(Finetuning):
    """Fine-tunes all weights every night on the day's raw material; by day it reads in context.

    The sequential fine-tuning baseline of continual learning (and the "train on passage" baseline
    of SEAL, Zweiger et al. 2025). Documents are learned as text, every token counting; practised
    questions are learned as question -> answer, only answer and stop marker counting. The saved
    state is all weights; before the first night with material it is empty.

    Departures:
        1. Several documents or questions are packed into one sequence, so that the model does not
           learn to stop after one.
        2. SEAL trains a LoRA for every passage; this trains all weights (see ``naive-lora``).
        3. On a GPU the weights of a large model, and so the training, are in bfloat16.
    """

    title: ClassVar[str] = "Fine-tuning"
    sources: ClassVar[str] = "SEAL's baseline, Zweiger et al. 2025"
    checked: ClassVar[str] = (
        "loss equals TRL's SFTTrainer (`tests/agents/training/test_training.py`)"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "batch_size": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        rank, alpha = getattr(self.config, "rank", 0), getattr(self.config, "alpha", 64.0)
        self.weights = TrainedWeights(self.lm, seed, rank, alpha)

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Train on the day."""
        self.weights.prepare()
        rng = derive_rng(night.derive_seed("order"))
        log = optimise(
            self.lm, plan(self.lm, examples, self.config, rng), self.config, night, capture=True
        )
        self.weights.learned |= learned(log)
        return log

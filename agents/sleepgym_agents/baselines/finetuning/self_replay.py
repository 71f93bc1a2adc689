"""The agent that rehearses itself while it learns the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.finetuning import (
    Finetuning,
    FinetuningSettings,
    daily_steps,
)
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.training.optimise import Example, learned, optimise, plan
from sleepgym_agents.training.pseudo_rehearsal import (
    RehearsalSettings,
    collate_mixed,
    estimate_rehearsal,
    mix,
    rehearsing,
    sample_rehearsal,
)


@dataclass(frozen=True)
class SelfReplaySettings(RehearsalSettings, FinetuningSettings):
    """Settings of :class:`SelfReplay`: those of fine-tuning, and the rehearsal's."""

    rehearsed: int = 256
    rehearsed_batch: int = 8


class SelfReplay(Finetuning):
    """Fine-tunes all weights, held to its evening self on sequences it samples from itself.

    Generative rehearsal (Robins 1995; Shin et al. 2017; for language models LAMOL, Sun et al.
    2020): before a night's training the model writes ``rehearsed`` sequences; each optimiser step
    adds the KL divergence from the evening's distribution on some of those it is confident of.
    Nothing is kept of what was read or written: the saved state is the weights alone.

    Departures:
        1. Sequences begin with the opening of a question, so that questions about what
           the model knows come up.
        2. Of these, questions are rehearsed whose answers the model gives a probability of at least
           .5 when asked them alone; all sequences where there is none.
        3. The model's whole distributions are rehearsed, not the sampled tokens as hard labels.
        4. The generator is the model itself, not a second one.
    """

    Config: ClassVar[type] = SelfReplaySettings
    title: ClassVar[str] = "Generative replay"
    sources: ClassVar[str] = "Robins 1995; Shin et al. 2017; LAMOL, Sun et al. 2020"
    checked: ClassVar[str] = "loss equals a token-by-token reference; no text in the state"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "items_per_sequence": [1, 3, 6],
        "rehearsed": [128, 256, 512],
        "rehearsal_weight": [1.0, 2.0, 4.0, 8.0],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed)

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As fine-tuning, beside a rehearsal every night."""
        rehearsal = estimate_rehearsal(
            config, scale.days, config.epochs * daily_steps(config, scale)
        )
        return super().estimate(config, scale) + rehearsal

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Sample from the evening's self, then train on the day beside it."""
        samples = sample_rehearsal(self.lm, self.config, night)
        if not samples:
            return {"steps": 0.0, "stopped_by_budget": 1.0}
        rng = derive_rng(night.derive_seed("order"))
        steps = plan(self.lm, examples, self.config, rng)
        mixed = mix(steps, samples, self.config.rehearsed_batch, rng)
        loss = rehearsing(self.config.rehearsal_weight)
        log = optimise(self.lm, mixed, self.config, night, loss, collate_mixed, capture=True)
        self.weights.learned |= learned(log)
        return log

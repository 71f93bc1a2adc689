"""The agent that rehearses itself while it learns the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.naive import Naive, NaiveSettings
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.training.optimise import optimise, plan
from sleepgym_agents.training.pseudo_rehearsal import (
    RehearsalSettings,
    collate_mixed,
    mix,
    rehearsing,
    sample_rehearsal,
)


@dataclass(frozen=True)
class SelfReplaySettings(RehearsalSettings, NaiveSettings):
    """Settings of :class:`SelfReplay`: those of :class:`Naive`, and the rehearsal's."""

    rehearsed: Annotated[int, Ge(1)] = 256
    rehearsed_batch: Annotated[int, Ge(1)] = 8


class SelfReplay(Naive):
    """Fine-tunes as :class:`Naive`, held to its evening self on sequences it samples from itself.

    Generative rehearsal (Robins 1995; Shin et al. 2017; for language models LAMOL, Sun et al.
    2020): before a night's training the model writes ``rehearsed`` sequences; each optimiser step
    adds the KL divergence from the evening's distribution on some of what it believes of them.
    Nothing is kept of what was read or written: the saved state is the weights alone.

    Departures:
        1. Sequences begin with an opened question instead of nothing, so that questions about what
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

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Sample from the evening's self, train on the day beside it, then forget both texts."""
        log: dict[str, float] = {}
        day, self.day = self.day, []
        episode_items = sample_rehearsal(self.lm, self.config, night) if day else []
        if episode_items:
            rng = derive_rng(night.derive_seed("order"))
            steps = plan(self.lm, day, self.config, rng)
            mixed = mix(steps, episode_items, self.config.rehearsed_batch, rng)
            loss = rehearsing(self.config.rehearsal_weight)
            log = optimise(self.lm, mixed, self.config, night, loss, collate_mixed)
            self.learned |= log["steps"] > 0 and "nan_loss" not in log
        elif day:
            log = {"steps": 0.0, "stopped_by_budget": 1.0}
        return {**log, **InContext.sleep(self, night)}

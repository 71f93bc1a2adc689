"""The agent of the paper: Knowledge Seeding, then Dreaming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sleepgym_agents.sleep.dreaming import DreamingSettings, learn_from_dreams
from sleepgym_agents.sleep.seeding import distil_day
from sleepgym_agents.sleep.sleeping_agent import SleepingAgent


@dataclass(frozen=True)
class SleepSettings(DreamingSettings):
    """Settings of :class:`Sleep`.

    Attributes:
        seeding: Whether the night distils the day.
        dreaming: Whether the night dreams.
    """

    seeding: bool = True
    dreaming: bool = True


class Sleep(SleepingAgent):
    """Reads in context by day; at night distils what it read, then learns from helpful dreams.

    The two stages of sleep of "Language Models Need Sleep" (arXiv:2606.03979), in that order and
    into the same newly unlocked expert: memory consolidation, then dreaming.

    Logs: those of ``seeding`` and of ``dreaming``.

    Departures:
        1. Those of :class:`sleepgym_agents.sleep.seeding.Seeding` and of
           :class:`sleepgym_agents.sleep.dreaming.Dreaming`.
    """

    Config: ClassVar[type] = SleepSettings
    title: ClassVar[str] = "Sleep"
    sources: ClassVar[str] = "Language Models Need Sleep, arXiv:2606.03979"
    checked: ClassVar[str] = "as `seeding` and `dreaming`; no figure of the paper"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [5e-3, 1e-2, 2e-2],
        "epochs": [6, 8, 12],
        "batch_size": [1, 2, 4],
        "items_per_sequence": [1, 3, 6],
        "dream_learning_rate": [2e-3, 5e-3, 1e-2],
        "dream_epochs": [2, 4, 8],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        switched = ((distil_day, self.config.seeding), (learn_from_dreams, self.config.dreaming))
        self.stages = tuple(stage for stage, on in switched if on)

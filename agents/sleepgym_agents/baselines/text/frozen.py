"""The agent that never learns."""

from __future__ import annotations

from typing import ClassVar

from sleepgym_agents.baselines.base_agent import ModelAgent


class Frozen(ModelAgent):
    """Answers every question with the bare model: what any agent must beat.

    It ignores what it studies and practises, and its saved state is empty.
    """

    takes_endpoint: ClassVar[bool] = True
    title: ClassVar[str] = "Frozen base model"

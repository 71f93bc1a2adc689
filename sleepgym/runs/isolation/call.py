"""What an agent's process is told of its agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.core import registry


@dataclass(frozen=True)
class AgentCall:
    """What a process is told of its agent: neither the stream, nor its seed, nor the run.

    Attributes:
        name: Registered name or ``module:Class``.
        settings: Its settings.
        seed: Its own, derived with a salt that it does not hold.
        model: As for a run.
        env: Environment id, whose package is left out of what can be imported.
        sandbox: Whether the process is put into one.
        limit_s: The longest that one request may take.
        upgrade: Whether settings may have names of earlier versions.
        prompt: As for a run.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    model: str
    env: str
    sandbox: bool
    limit_s: float
    upgrade: bool = False
    prompt: str = ""

    def named(self) -> dict[str, Any]:
        """Where the agent's class is, and its settings, as a process is told them."""
        where = self.name if ":" in self.name else registry.agents[self.name].entry_point
        settings = {name.replace("-", "_"): value for name, value in self.settings.items()}
        return {"agent": where, "name": self.name, "settings": settings, "upgrade": self.upgrade}

    def model_folder(self) -> Path | None:
        """The model's folder; None for one that has a name."""
        path = Path(self.model).expanduser()
        named = self.model in ("embedded", "scratch")
        return None if named or not path.is_dir() else path.resolve()

"""What an agent's process is told of its agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.runs.isolation.sandbox import MODEL


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
        memory_bytes: The most that its processes may take together; None is no limit.
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
    memory_bytes: int | None = None

    def named(self) -> dict[str, Any]:
        """Where the agent's class is, and its settings, as a process is told them."""
        where = self.name if ":" in self.name else registry.agents[self.name].entry_point
        settings = {name.replace("-", "_"): value for name, value in self.settings.items()}
        return {"agent": where, "name": self.name, "settings": settings, "upgrade": self.upgrade}

    def model_path(self) -> Path | None:
        """The folder or file that the model was given as; None for one that has a name."""
        path = Path(self.model).expanduser()
        named = self.model in ("embedded", "scratch")
        return None if named or not path.exists() else path.resolve()

    def told_model(self) -> str:
        """The model as its process finds it."""
        path = self.model_path()
        if path is None:
            return self.model
        return self.mounted_model() if self.sandbox else str(path)

    def mounted_model(self) -> str:
        """Where a sandbox has the model: a file keeps its name."""
        path = self.model_path()
        return f"{MODEL}/{path.name}" if path and path.is_file() else MODEL

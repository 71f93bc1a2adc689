"""SleepGym: what does a language model still know after its context has closed?

``import sleepgym`` registers the environments with Gymnasium and loads no tensor library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sleepgym.core.agent import Agent, NoSettings
from sleepgym.core.budget import Budget, Meter, Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.env import ContinualEnv, make_env
from sleepgym.core.errors import SleepGymError
from sleepgym.core.family import TaskFamily
from sleepgym.core.registry import load_plugins, register_agent, register_battery, register_env
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym.core.settings import Settings
from sleepgym.core.types import AnswerKey, Day, Document, Item, Phase, Question, Stream

if TYPE_CHECKING:
    from sleepgym.runs.runner import run
    from sleepgym.runs.spec import RunSpec
    from sleepgym.scoring.frames import load_runs

__version__ = "0.2.0"

__all__ = [
    "Agent",
    "AnswerKey",
    "Budget",
    "ContinualEnv",
    "Cost",
    "Day",
    "Document",
    "Item",
    "Meter",
    "Night",
    "NoSettings",
    "Phase",
    "Question",
    "RunSpec",
    "Scale",
    "Settings",
    "SleepGymError",
    "Stream",
    "TaskFamily",
    "derive_rng",
    "derive_seed",
    "load_runs",
    "make_env",
    "register_agent",
    "register_battery",
    "register_env",
    "run",
]

_LAZY = {
    "RunSpec": "sleepgym.runs.spec",
    "load_runs": "sleepgym.scoring.frames",
    "run": "sleepgym.runs.runner",
}


def __getattr__(name: str) -> Any:
    """Import the parts that need pandas only when they are asked for."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'sleepgym' has no attribute {name!r}")


load_plugins()

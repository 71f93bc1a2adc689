"""The contract, rule by rule, for agents and task families of ours and of third parties.

Each rule is a function whose docstring states it; it returns None, or what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from sleepgym.contract.agents import AGENT_RULES
from sleepgym.contract.tasks import TASK_RULES
from sleepgym.core import registry
from sleepgym.core.agent import Agent
from sleepgym.core.errors import place
from sleepgym.core.family import TaskFamily
from sleepgym.core.settings import meanings


@dataclass(frozen=True)
class Finding:
    """The outcome of one rule.

    Attributes:
        rule: The rule in words.
        problem: What is wrong; None where the rule holds.
    """

    rule: str
    problem: str | None


def check_agent(name: str, model: str = "scratch") -> list[Finding]:
    """Check an agent, by registered name or ``module:Class``, against every rule."""
    cls = registry.agent_class(name)
    if not (isinstance(cls, type) and issubclass(cls, Agent)):
        return [Finding("An agent is a subclass of sleepgym.Agent.", f"{name} is {cls!r}")]
    shape = [_apply(rule, cls) for rule in (config_is_frozen, settings_are_documented)]
    return shape + [_apply(rule, lambda: cls(seed=7, model=model)) for rule in AGENT_RULES]


def check_task(name: str, data: Path | None = None) -> list[Finding]:
    """Check a task family, by environment id or ``module:Class``, against every rule."""
    cls = registry.family_class(name)
    if not (isinstance(cls, type) and issubclass(cls, TaskFamily)):
        return [Finding("A task is a subclass of sleepgym.TaskFamily.", f"{name} is {cls!r}")]
    shape = [_apply(rule, cls) for rule in (config_is_frozen, settings_are_documented)]
    return shape + [_apply(rule, cls(data=data)) for rule in TASK_RULES]


def config_is_frozen(cls: Any) -> str | None:
    """Config is a frozen dataclass whose fields all have defaults."""
    config = cls.Config()
    if not is_dataclass(config):
        return f"{cls.Config!r} is no dataclass"
    for field in fields(config)[:1]:
        try:
            setattr(config, field.name, None)
        except FrozenInstanceError:
            continue
        return "its fields can be assigned to: add frozen=True"
    return None


def settings_are_documented(cls: Any) -> str | None:
    """The docstring of Config names every field, or that of a class it inherits from does."""
    known = meanings(cls.Config)
    missing = [f.name for f in fields(cls.Config) if f.name not in known]
    return f"not documented: {', '.join(missing)}" if missing else None


def _apply(rule: Callable[[Any], str | None], subject: Any) -> Finding:
    words = (rule.__doc__ or rule.__name__).strip()
    try:
        return Finding(words, rule(subject))
    except (Exception, SystemExit) as error:  # the subject may raise anything: that is the finding
        return Finding(words, f"it raised {type(error).__name__}: {error}{place(error)}")

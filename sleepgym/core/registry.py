"""Names of environments, agents and suites, and the door for third parties.

An entry point of the group ``sleepgym.tasks`` or ``sleepgym.agents`` names a package whose import
runs cheap register lines. Nothing is imported until it is used. One of the group
``sleepgym.commands`` names a function that takes the command line's ``typer.Typer`` and adds to it.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from sleepgym.core.errors import SleepGymError, UnknownName, one_line, place, unknown_name

GROUPS = ("sleepgym.tasks", "sleepgym.agents")
COMMANDS = "sleepgym.commands"
NEEDS = ("documents", "practice", "choices")  # what a stream may offer, and an agent need


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered thing.

    Attributes:
        name: Its name.
        entry_point: ``module:Class``.
        summary: One line about it.
        needs: Of an agent: what a stream must offer for it to learn anything.
    """

    name: str
    entry_point: str
    summary: str
    needs: tuple[str, ...] = ()

    def load(self) -> Any:
        """Import and return what the entry point names."""
        return load_object(self.entry_point)


envs: dict[str, Entry] = {}
agents: dict[str, Entry] = {}
batteries: dict[str, Entry] = {}


def register_env(env_id: str, entry_point: str, summary: str) -> None:
    """Register a task family as a Gymnasium environment.

    Args:
        env_id: A versioned id, for example ``"sleepgym/Almanac-v1"``.
        entry_point: ``"module:Class"`` of a :class:`sleepgym.TaskFamily`.
        summary: One line for listings.

    Raises:
        SleepGymError: If the id is not of the form ``namespace/Name-vN``.
    """
    import gymnasium

    if not re.fullmatch(r"[\w-]+/[\w-]+-v\d+", env_id):
        raise SleepGymError(f"environment id {env_id!r} is not of the form namespace/Name-vN")
    envs[env_id] = Entry(env_id, entry_point, summary)
    if env_id not in gymnasium.registry:
        gymnasium.register(
            env_id, entry_point="sleepgym.core.env:make_env", kwargs={"env_id": env_id}
        )


def register_agent(name: str, entry_point: str, summary: str, needs: Iterable[str] = ()) -> None:
    """Register an agent under a short name.

    Args:
        name: Lower-case words joined by hyphens, for example ``"in-context"``.
        entry_point: ``"module:Class"`` of a :class:`sleepgym.Agent`.
        summary: One line for listings.
        needs: What a stream must offer for it to learn anything, of :data:`NEEDS`; suites that run
            every agent leave it out elsewhere.

    Raises:
        SleepGymError: If the name is not lower-case words joined by hyphens.
        UnknownName: If it needs what no stream offers.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise SleepGymError(f"agent name {name!r} is not lower-case words joined by hyphens")
    for need in needs:
        if need not in NEEDS:
            raise unknown_name(f"need of agent {name}", need, NEEDS)
    agents[name] = Entry(name, entry_point, summary, tuple(needs))


def register_battery(name: str, entry_point: str, summary: str) -> None:
    """Register a skill battery.

    Args:
        name: A short name.
        entry_point: ``"module:Class"`` of a :class:`sleepgym.runs.skills.Battery`.
        summary: One line for listings.
    """
    batteries[name] = Entry(name, entry_point, summary)


def load_object(entry_point: str) -> Any:
    """Import ``"module:Name"``.

    Raises:
        UnknownName: If the module or the name does not exist, or the module cannot be imported.
    """
    module_name, _, attribute = entry_point.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", entry_point):
        raise UnknownName(f"{entry_point!r:.100} is not of the form module:Class")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise UnknownName(f"cannot import {entry_point!r}: no module {error.name!r}") from error
    except AttributeError as error:
        if getattr(error, "name", None) != attribute:  # raised by a line of the module
            raise _not_imported(entry_point, error) from error
        raise UnknownName(f"module {module_name!r} has no {attribute!r}") from error
    except SleepGymError:
        raise
    except (Exception, SystemExit) as error:  # the module may raise anything
        raise _not_imported(entry_point, error) from error


def _not_imported(entry_point: str, error: BaseException) -> UnknownName:
    said = one_line(f"{type(error).__name__}: {error}", 300)
    return UnknownName(f"cannot import {entry_point!r}: its module raised {said}{place(error)}")


def _class_of(entry_point: str, what: str) -> type:
    """The class that ``module:Class`` names.

    Raises:
        UnknownName: If it is no class with settings.
    """
    found = load_object(entry_point)
    if not isinstance(found, type) or not hasattr(found, "Config"):
        raise UnknownName(f"{entry_point!r:.100} is no {what}: it must be a class with a Config")
    return found


def family_class(env_id: str) -> type:
    """The task family behind an environment id or a ``module:Class``."""
    if ":" in env_id:
        return _class_of(env_id, "task family")
    if env_id not in envs:
        raise unknown_name("environment", env_id, envs)
    return envs[env_id].load()


def agent_class(name: str) -> type:
    """The agent behind a registered name or a ``module:Class``."""
    if ":" in name:
        return _class_of(name, "agent")
    if name not in agents:
        raise unknown_name("agent", name, agents)
    return agents[name].load()


def agent_package(name: str) -> str:
    """The top-level package of a registered name or a ``module:Class``; it is not imported."""
    if ":" not in name and name not in agents:
        raise unknown_name("agent", name, agents)
    entry_point = name if ":" in name else agents[name].entry_point
    return re.split("[.:]", entry_point, maxsplit=1)[0]


def env_package(env_id: str) -> str:
    """The top-level package of an environment id or a ``module:Class``; it is not imported."""
    if ":" not in env_id and env_id not in envs:
        raise unknown_name("environment", env_id, envs)
    entry_point = env_id if ":" in env_id else envs[env_id].entry_point
    return re.split("[.:]", entry_point, maxsplit=1)[0]


def load_plugins() -> None:
    """Import every package that an entry point of ours names; a broken one only warns."""
    for group in GROUPS:
        for _ in _load_points(group):
            pass


def add_commands(app: Any) -> None:
    """Let every entry point of the group ``sleepgym.commands`` add its commands.

    Args:
        app: The ``typer.Typer`` behind ``sleepgym``; each entry point names a function of it.
    """
    for point, add in _load_points(COMMANDS):
        with _warn_of(point):
            add(app)


def _load_points(group: str) -> Iterator[tuple[metadata.EntryPoint, Any]]:
    for point in sorted(metadata.entry_points(group=group), key=lambda p: p.name):
        with _warn_of(point):
            yield point, point.load()


@contextmanager
def _warn_of(point: metadata.EntryPoint) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a third party's fault must not break everyone's import
        warnings.warn(
            f"plug-in {point.name!r} ({point.value}) failed to load: {error!r}", stacklevel=4
        )

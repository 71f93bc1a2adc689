"""Tuned settings: ``tuned.toml`` beside an agent's package, one table an agent.

Any package that registers agents may ship one. Its settings are laid over an agent's defaults only
where that is asked for (``tuned = true`` of a suite, ``sleepgym run --tuned``), before the run is
described: its record holds the settings themselves and needs no file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.util import find_spec
from typing import Any

from sleepgym.core import registry
from sleepgym.core.errors import SleepGymError, unknown_name
from sleepgym.core.settings import build_config

FILE = "tuned.toml"


def with_tuned(agent: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The tuned settings of an agent with ``settings`` laid over them.

    Args:
        agent: Registered name or ``module:Class``; the name of its table.
        settings: Settings that win.

    Raises:
        UnknownName: If there is no such agent, or its table names an unknown setting.
        BadSetting: If a value of its table breaks the setting's rule.
        SleepGymError: If the file is malformed.
    """
    package = registry.agent_package(agent)
    tuned = read_tuned(package).get(agent, {})
    if tuned:
        config = registry.agent_class(agent).Config
        build_config(config, tuned, f"agent {agent} in {FILE} of {package}")
    return {**tuned, **{name.replace("-", "_"): value for name, value in settings.items()}}


def read_tuned(package: str) -> dict[str, dict[str, Any]]:
    """Agent -> its tuned settings, unchecked; empty where the package ships none.

    Args:
        package: Name of a top-level package.

    Raises:
        UnknownName: If a table is not of a registered agent or a ``module:Class``.
        SleepGymError: If the file is malformed.
    """
    if not _is_package(package):
        return {}
    file = resources.files(package) / FILE
    if not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SleepGymError(f"{FILE} of {package} is malformed: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise SleepGymError(f"{FILE} of {package} is malformed: {name} is not a table [agent]")
        if ":" not in name and name not in registry.agents:
            raise unknown_name(f"agent in {FILE} of {package}", name, registry.agents)
    return tables


def _is_package(name: str) -> bool:
    """Whether files can lie beside it; a single module has no folder of its own."""
    try:
        found = find_spec(name)
    except ValueError:  # ``__main__`` of a script
        return False
    return found is not None and bool(found.submodule_search_locations)


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings in one line, as ``--agent-set`` takes them; ``defaults`` where there are none."""
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"

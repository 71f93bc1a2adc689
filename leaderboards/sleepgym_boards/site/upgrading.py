"""Settings of old submissions by the names that they have today, so that copied commands work."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache

from sleepgym.core import registry
from sleepgym.core.settings import renamed_settings, upgrade_settings
from sleepgym_boards.verification.verdict import Header


def with_names_of_today(header: Header) -> Header:
    """A header whose settings and commands have the names of today.

    An agent of somebody else's is not imported: its settings stay as they are.
    """
    agent = _agent_class(header.agent)
    if agent is None:
        return header
    renamed = renamed_settings(agent.Config)
    if not renamed:
        return header
    settings = upgrade_settings(agent.Config, header.settings)
    if settings == header.settings:
        return header
    commands = {seed: _upgraded(text, renamed) for seed, text in header.commands.items()}
    return header.model_copy(update={"settings": settings, "commands": commands})


def _upgraded(command: str, renamed: Mapping[str, str | None]) -> str:
    """A command line whose ``--agent-set NAME=VALUE`` have the names of today."""
    try:
        words = iter(shlex.split(command))
    except ValueError:  # no command line
        return command
    kept: list[str] = []
    for word in words:
        pair = next(words, "") if word == "--agent-set" else None
        if pair is None:
            kept.append(word)
            continue
        name, equals, value = pair.partition("=")
        now = renamed.get(name, name)
        kept += [word, f"{now}{equals}{value}"] if now is not None else []
    return shlex.join(kept)


@cache
def _agent_class(name: str) -> type | None:
    """The class of an agent that is registered here; None where it is not, or cannot be loaded."""
    if name not in registry.agents:
        return None
    try:
        return registry.agent_class(name)
    except Exception:  # its libraries may be missing: the site is made without them
        return None

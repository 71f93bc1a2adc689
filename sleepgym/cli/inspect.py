"""``list`` and ``check``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from sleepgym.cli.options import Data, Model


class Kind(StrEnum):
    """What can be listed."""

    envs = "envs"
    agents = "agents"
    suites = "suites"
    boards = "boards"


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("list")(list_names)
    app.command()(check)


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="Only these.")] = None,
    name: Annotated[
        str | None, typer.Argument(help="One of them: its settings and presets.")
    ] = None,
) -> None:
    """List environments, agents, suites and boards; with a name, its settings."""
    from sleepgym.cli.tables import show_names, show_settings

    if name is not None and kind is not None:
        show_settings(kind.value, name)
    else:
        show_names([kind.value] if kind else [k.value for k in Kind])


def check(
    name: Annotated[
        str, typer.Argument(help="Environment id, agent name, or module:Class of your own.")
    ],
    model: Model = "scratch",
    data: Data = None,
) -> None:
    """Check an agent or a task against the contract, rule by rule."""
    from sleepgym import contract
    from sleepgym.cli.tables import console
    from sleepgym.core import registry
    from sleepgym.core.agent import Agent
    from sleepgym.core.errors import unknown_name

    if name in registry.agents:
        findings = contract.check_agent(name, model)
    elif name in registry.envs:
        findings = contract.check_task(name, data)
    elif ":" in name:
        cls = registry.load_object(name)
        is_agent = isinstance(cls, type) and issubclass(cls, Agent)
        findings = (
            contract.check_agent(name, model) if is_agent else contract.check_task(name, data)
        )
    else:
        raise unknown_name("environment or agent", name, [*registry.agents, *registry.envs])
    for finding in findings:
        mark = "[green]ok  [/green]" if finding.problem is None else "[red]FAIL[/red]"
        console.print(f"{mark} {finding.rule}", highlight=False)
        if finding.problem:
            console.print(f"     {finding.problem}", markup=False, highlight=False)
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)

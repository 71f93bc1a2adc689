"""``list`` and ``check``."""

from __future__ import annotations

from typing import Annotated

import typer

from sleepgym.cli.options import Data, Model, example


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        "list", epilog=example("sleepgym list agents", "sleepgym list naive", "sleepgym list")
    )(list_names)
    app.command(epilog=example("sleepgym check mypkg.mine:Mine"))(check)


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="[bold]envs[/bold], [bold]agents[/bold], [bold]suites[/bold] or "
            "[bold]boards[/bold]; or the name of one of them, for its page.",
            metavar="[KIND|NAME]",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(help="One of this kind: its settings and presets.")
    ] = None,
) -> None:
    """List environments, agents, suites and boards; with a name, its settings."""
    from sleepgym.cli.listing import KINDS, show_names, show_page
    from sleepgym.core.errors import unknown_name

    if kind is None:
        show_names()
    elif name is None:
        show_names([kind]) if kind in KINDS else show_page(kind)
    elif kind in KINDS:
        show_page(name, [kind])
    else:
        raise unknown_name("kind", kind, KINDS)


def check(
    name: Annotated[
        str, typer.Argument(help="Environment id, agent name, or module:Class of your own.")
    ],
    model: Model = "scratch",
    data: Data = None,
) -> None:
    """Check an agent or a task against the contract, rule by rule."""
    from sleepgym import contract
    from sleepgym.cli.console import console
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
        console.print(f"{mark} {finding.rule}", highlight=False, soft_wrap=True)
        if finding.problem:
            console.print(f"     {finding.problem}", markup=False, highlight=False, soft_wrap=True)
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)

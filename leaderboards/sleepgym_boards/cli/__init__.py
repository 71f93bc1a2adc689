"""Commands of the boards; ``sleepgym.cli`` finds :func:`add_commands` by its name."""

from __future__ import annotations

import typer

from sleepgym_boards.cli import boards, site, submitting, verifying


def add_commands(app: typer.Typer) -> None:
    """Add every module's commands."""
    for module in (submitting, verifying, boards, site):
        module.add_commands(app)

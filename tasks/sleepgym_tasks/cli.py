"""Commands of the tasks; ``sleepgym.cli`` finds :func:`add_commands` by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    data = typer.Typer(no_args_is_help=True, help="Check data of your own.")
    data.command()(check)
    data.callback()(_group)
    app.add_typer(data, name="data")


def _group() -> None:
    """Check data of your own for sleepgym/Jsonl-v0."""


def check(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder with questions.jsonl and documents.jsonl (or text files), or one of them.",
            metavar="FILE",
        ),
    ],
) -> int:
    """Name each bad record of documents.jsonl, questions.jsonl, or a folder that holds them.

    Exit code 1 where there is one. Example: sleepgym data check mydata, then: sleepgym run --env
    sleepgym/Jsonl-v0 --data mydata --agent retrieval --out runs/mine
    """
    from sleepgym.core.errors import MissingData
    from sleepgym_tasks.datasets.own_files import HOLDS, load, problems

    if not path.exists():
        raise MissingData(f"no file or folder {str(path)!r}: name one that holds {HOLDS}")
    found = problems(path)
    for line in found:
        typer.echo(line)
    if found:
        typer.echo(f"{len(found)} bad record{'s' if found[1:] else ''}")
        return 1
    if path.is_dir():
        own = load(path)
        sizes = {"day": own.days, "document": len(own.documents), "question": len(own.questions)}
        words = (f"{size} {name}{'' if size == 1 else 's'}" for name, size in sizes.items())
        typer.echo(f"good: {', '.join(words)}")
    else:
        typer.echo("good")
    return 0

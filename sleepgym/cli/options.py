"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of original data files, for example DIR/clinc150/data_full.json.",
        envvar="SLEEPGYM_DATA",
        metavar="DIR",
    ),
]
IsolationLevel = Annotated[
    str,
    typer.Option(
        help="Where the agent lives: here ([bold]in-process[/bold]), in a [bold]process[/bold] "
        "of its own, or in a [bold]sandbox[/bold] (bubblewrap).",
        metavar="in-process|process|sandbox",
    ),
]
_MODEL_HELP = (
    "Language model: [bold]embedded[/bold], a folder, a hub id, or [bold]scratch[/bold] "
    "(small, random)."
)
Model = Annotated[str, typer.Option(help=_MODEL_HELP)]
AnyModel = Annotated[
    str | None, typer.Option(help=_MODEL_HELP, show_default="embedded, or the board's")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", help="Name every setting, not only those that are not defaults."),
]
Paths = Annotated[
    list[Path], typer.Argument(help="Run directories, or folders that hold some.", metavar="DIR...")
]
Board = Annotated[
    str | None,
    typer.Option(
        help="Board ([bold]sleepgym list boards[/bold]) or a TOML file: its environment, settings, "
        "exams, budget, model and seeds.",
        metavar="NAME",
    ),
]


def example(*lines: str) -> str:
    """The end of a command's ``--help``: command lines to copy."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n\n".join([head, *lines])

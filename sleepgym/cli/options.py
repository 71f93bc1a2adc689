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
Model = Annotated[
    str,
    typer.Option(
        help="Language model: [bold]embedded[/bold], a folder, a hub id, or [bold]scratch[/bold] "
        "(small, random).",
    ),
]
Paths = Annotated[
    list[Path], typer.Argument(help="Run directories, or folders that hold some.", metavar="DIR...")
]

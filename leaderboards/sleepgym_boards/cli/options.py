"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Salt = Annotated[
    Path | None,
    typer.Option(help="Of a sealed board whose salt is not public yet: the file of the salt."),
]
BoardName = Annotated[
    str, typer.Argument(help="Board ([bold]sleepgym list boards[/bold]) or a TOML file.")
]

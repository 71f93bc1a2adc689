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
AuditMode = Annotated[
    str,
    typer.Option(
        help="Who sits the morning exam: a fresh [bold]instance[/bold] loaded from the saved "
        "state, the same in a fresh [bold]process[/bold], or [bold]off[/bold].",
        metavar="instance|process|off",
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

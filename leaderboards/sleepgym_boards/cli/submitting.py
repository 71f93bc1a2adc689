"""``submit``: runs into one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Data, Paths, example
from sleepgym_boards.cli.options import Salt


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    line = "sleepgym submit runs/mine --board almanac-8-v1 --card card.toml --out mine.json.gz"
    app.command(epilog=example(line))(submit)


def submit(
    paths: Paths,
    board: Annotated[
        str, typer.Option(help="Board ([bold]sleepgym list boards[/bold]) or a TOML file.")
    ],
    out: Annotated[Path, typer.Option(help="File to write: NAME.json.gz, or NAME.json.xz.")],
    card: Annotated[
        Path | None,
        typer.Option(help="Method card, a TOML file; [bold]sleepgym board card[/bold] begins one."),
    ] = None,
    data: Data = None,
    salt: Salt = None,
) -> None:
    """Pack the runs of one method for a board, or say what is missing."""
    from sleepgym.cli.console import console
    from sleepgym_boards.board import load_board
    from sleepgym_boards.catalogue.entries import verdict_file
    from sleepgym_boards.packing import NotReady, pack
    from sleepgym_boards.sealed_seeds import read_salt
    from sleepgym_boards.submission import files

    verdict_file(out)  # the suffix
    chosen = load_board(board)
    opened = read_salt(salt) if salt else None
    try:
        submission = pack(paths, chosen, card, data=data, salt=opened)
    except NotReady as error:
        for line in error.missing:
            print(f"sleepgym: {line}", file=sys.stderr)
        raise typer.Exit(2) from error
    files.write(submission, out)
    console.print(
        f"{out}: {len(submission.runs)} runs, {out.stat().st_size:,} bytes. "
        f"Next: sleepgym verify {out}",
        soft_wrap=True,
        highlight=False,
    )

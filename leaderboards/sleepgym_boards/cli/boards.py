"""``board``: cards to fill in, seals, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Data, example
from sleepgym_boards.cli.options import BoardName, Salt

_group = typer.Typer(
    no_args_is_help=True, help="Method cards, sealed seeds, model digests, verdicts."
)


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(_group, name="board")


@_group.command(epilog=example("sleepgym board card > card.toml"))
def card() -> None:
    """Print a method card to fill in."""
    from sleepgym_boards.packing import CARD_TEMPLATE

    print(CARD_TEMPLATE, end="")


@_group.command(epilog=example("sleepgym board seeds almanac-8-v1"))
def seeds(board: BoardName, salt: Salt = None) -> None:
    """Print a board's seeds; those of a sealed board need its salt, until it is public."""
    from sleepgym_boards.board import load_board
    from sleepgym_boards.sealed_seeds import read_salt
    from sleepgym_boards.verification.verifier import board_seeds

    opened = read_salt(salt) if salt else None
    print(",".join(map(str, board_seeds(load_board(board), opened))))


@_group.command(epilog=example("sleepgym board seal --salt secret.salt"))
def seal(
    board: BoardName,
    salt: Annotated[Path, typer.Option(help="File of the salt; made new, kept to yourself.")],
    count: Annotated[int, typer.Option(help="Streams of the round.", min=5)] = 5,
) -> None:
    """Walk through a sealed round: say which step is next, and print what to publish for it.

    Run it again after each step. The streams depend on the published list of code, so that none
    can be known before every method is fixed.
    """
    from sleepgym_boards.board import load_board
    from sleepgym_boards.sealing import next_step

    print(next_step(load_board(board), salt, count))


@_group.command(epilog=example("sleepgym board digest embedded"))
def digest(
    model: Annotated[str, typer.Argument(help="[bold]embedded[/bold], or a folder.")] = "embedded",
) -> None:
    """Print the digest of a base model, as a board's file names it."""
    from sleepgym.core.errors import UnknownName
    from sleepgym.runs.models.base_model import model_digest

    found = model_digest(model)
    if found is None:
        raise UnknownName(f"model {model!r}: there is no such folder")
    print(found)


@_group.command(epilog=example("sleepgym board verdicts leaderboards/submissions"))
def verdicts(
    folder: Annotated[
        Path, typer.Argument(help="Folder of submissions, a folder a board.", metavar="DIR")
    ],
    data: Data = None,
) -> None:
    """Verify every submission anew and write the verdicts that differ from those on disk.

    Exit code 1 if a rule is broken or a submission cannot be verified here.
    """
    from sleepgym_boards.catalogue.verdicts import write_verdicts

    ok = True
    for finding in write_verdicts(folder, data):
        print(f"{finding.place}: {finding.says}", flush=True)
        ok = ok and finding.ok
    if not ok:
        raise typer.Exit(1)

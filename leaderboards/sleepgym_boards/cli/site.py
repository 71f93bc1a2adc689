"""``site`` and ``serve``: the boards as pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleepgym.cli.options import Data, example

if TYPE_CHECKING:
    from sleepgym_boards.catalogue.entries import Entry


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=example("sleepgym site --out site"))(site)
    app.command(epilog=example("sleepgym serve site"))(serve)


def site(
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier site in it is replaced.")],
    submissions: Annotated[
        Path, typer.Option(help="Folder of submissions and their verdicts, a folder a board.")
    ] = Path("leaderboards/submissions"),
    reverify: Annotated[
        bool,
        typer.Option(
            "--reverify", help="Believe no verdict on disk: verify every submission here and now."
        ),
    ] = False,
    data: Data = None,
) -> None:
    """Write the boards as static pages: one folder that any host serves."""
    from sleepgym.cli.console import console
    from sleepgym.core.errors import unknown_name
    from sleepgym_boards.board import board_names
    from sleepgym_boards.catalogue.entries import load_entries
    from sleepgym_boards.site.building import build_site

    entries = load_entries(submissions)
    names, fit = board_names(), []
    for entry in entries:
        strange = unknown_name("board", entry.board, names) if entry.board not in names else ""
        if problem := entry.problem or strange:
            place = f"{entry.board}/{entry.slug}"
            print(f"sleepgym: left out {place!a}: {problem}", file=sys.stderr)
        else:
            fit.append(entry)
    entries = fit
    if reverify:
        entries = _reverified(entries, data)
    pages = build_site(out, entries, data)
    console.print(
        f"{out}: {pages} pages. Next: sleepgym serve {out}", soft_wrap=True, highlight=False
    )


def _reverified(entries: Sequence[Entry], data: Path | None) -> list[Entry]:
    from sleepgym_boards.catalogue.verdicts import reverify

    found = []
    for entry, verdict, problem in reverify(entries, data):
        if problem:
            print(f"sleepgym: {entry.board}/{entry.slug}: {problem}", file=sys.stderr)
        found.append(replace(entry, verdict=verdict))
    return found


def serve(
    folder: Annotated[Path, typer.Argument(help="A site.", metavar="DIR")],
    port: Annotated[int, typer.Option(help="Port on this machine.", min=0, max=65535)] = 8000,
) -> None:
    """Serve a site to this machine until interrupted."""
    from sleepgym.cli.console import console
    from sleepgym_boards.site.serving import HOST, make_server

    with make_server(folder, port) as server:
        console.print(f"http://{HOST}:{server.server_port}/ (Ctrl-C ends)", highlight=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended")

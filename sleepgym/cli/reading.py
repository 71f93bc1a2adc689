"""``score`` and ``report``: everything from the logs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Paths


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(score)
    app.command()(report)


def score(
    paths: Paths, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Compute every metric from the logged answers.

    One run gives one JSON object of metrics; several runs of one configuration give one that
    also holds their mean, interquartile mean and interval.
    """
    from sleepgym.cli.tables import print_json_scores, show_scores

    if as_json:
        print_json_scores(paths)
    else:
        show_scores(paths)


def report(
    paths: Paths,
    out: Annotated[Path, typer.Option(help="Folder for report.html, pictures and tables.")],
    reference: Annotated[
        str, typer.Option(help="Agent that the others are compared with, stream by stream.")
    ] = "frozen",
) -> None:
    """Write a self-contained HTML report with pictures."""
    from sleepgym.cli.tables import console
    from sleepgym.reports.report import write_report

    page = write_report(paths, out, reference)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)

"""``score``, ``compare`` and ``report``: everything from the logs alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sleepgym.cli.options import Paths, Verbose, example

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=example("sleepgym score runs/demo", "sleepgym score runs/first --json"))(
        score
    )
    app.command(epilog=example("sleepgym compare runs/demo/almanac/sleep runs/demo/almanac/naive"))(
        compare
    )
    app.command(epilog=example("sleepgym report runs/demo --out report --reference naive"))(report)


def score(
    paths: Paths,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compute every metric from the logged answers.

    One run gives one JSON object of metrics; several runs of one configuration give one that
    also holds their mean, interquartile mean and interval.
    """
    from sleepgym.cli.tables import print_json_scores, show_scores

    if as_json:
        print_json_scores(paths)
    else:
        show_scores(paths, verbose)


def compare(
    first: Annotated[
        Path, typer.Argument(help="Runs of one agent: a folder, or one run.", metavar="A")
    ],
    second: Annotated[
        Path, typer.Argument(help="Runs of another on the same environment.", metavar="B")
    ],
    as_json: AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every metric.")] = False,
) -> None:
    """Compare two agents seed by seed: the mean of A - B and its 95% interval, metric by metric.

    Only seeds that both have run count: they saw the same streams.
    """
    from sleepgym.cli.tables import COMPARED, show_difference
    from sleepgym.scoring.comparisons import seed_ranges
    from sleepgym.scoring.pairs import compare_pair

    pair = compare_pair(first, second)
    seeds = seed_ranges(pair.seeds)
    if as_json:
        rows = {
            name: {"a": a, "b": b, "difference": asdict(found)}
            for name, (a, b, found) in pair.rows.items()
        }
        head = {"a": pair.first, "b": pair.second, "seeds": pair.seeds}
        print(json.dumps({**head, "metrics": rows}, indent=1, allow_nan=False))
        return
    metrics = pair.rows if verbose else [m for m in COMPARED if m in pair.rows]
    rows = {metric: pair.rows[metric] for metric in metrics}
    show_difference(pair.first, pair.second, rows, seeds, len(pair.seeds))


def report(
    paths: Paths,
    out: Annotated[Path, typer.Option(help="Folder for report.html, pictures and tables.")],
    reference: Annotated[
        str | None,
        typer.Option(
            help="Label of the agent that the others are compared with, seed by seed.",
            show_default="frozen, if it ran",
        ),
    ] = None,
) -> None:
    """Write a self-contained HTML report with pictures."""
    from sleepgym.cli.console import console
    from sleepgym.reports.report import write_report

    page = write_report(paths, out, reference)
    console.print(f"Report: {page}", soft_wrap=True, highlight=False)

"""``score``, ``compare`` and ``report``: everything from the logs alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleepgym.cli.options import Paths, Verbose, example

if TYPE_CHECKING:
    from sleepgym.scoring.pairs import Pair

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=example("sleepgym score runs/demo", "sleepgym score runs/first --json"))(
        score
    )
    app.command(
        epilog=example(
            "sleepgym compare runs/mine runs/naive", "sleepgym compare sleep naive --runs runs/demo"
        )
    )(compare)
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
        str,
        typer.Argument(
            help="Runs of one agent: a folder, or one run; with --runs the agent's label.",
            metavar="A",
        ),
    ],
    second: Annotated[str, typer.Argument(help="Another on the same environment.", metavar="B")],
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder of a suite, of which A and B are agents.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every metric.")] = False,
) -> None:
    """Compare two agents seed by seed: the mean of A - B and its 95% interval, metric by metric.

    Only seeds that both have run count: they saw the same streams.
    """
    from sleepgym.cli.console import console
    from sleepgym.cli.tables import show_pair
    from sleepgym.core.errors import BadRun
    from sleepgym.scoring.pairs import compare_agents, compare_pair

    missing = next((side for side in (first, second) if not Path(side).is_dir()), None)
    if runs is None and missing is not None:
        raise BadRun(f"{missing} is not a folder: give two, or two agents and --runs DIR")
    if runs is None:
        pair = compare_pair(first, second)
        print(_as_json(pair)) if as_json else show_pair(pair, verbose)
        return
    pairs = compare_agents(runs, first, second)
    if as_json:
        print("[" + ",\n".join(_as_json(pair, env) for env, pair in pairs.items()) + "]")
        return
    for environment, pair in pairs.items():
        console.print(f"\n{environment}", markup=False, highlight=False)
        show_pair(pair, verbose)


def _as_json(pair: Pair, environment: str | None = None) -> str:
    rows = {
        name: {"a": a, "b": b, "difference": asdict(found)}
        for name, (a, b, found) in pair.rows.items()
    }
    head = {"a": pair.first, "b": pair.second, "seeds": pair.seeds}
    head = head if environment is None else {"environment": environment, **head}
    return json.dumps({**head, "metrics": rows}, indent=1, allow_nan=False)


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

"""``verify``: what a submission is worth."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleepgym.cli.options import Data, example
from sleepgym_boards.cli.options import Salt

if TYPE_CHECKING:
    from sleepgym_boards.verification.verdict import Verdict


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=example("sleepgym verify mine.json.gz"))(verify)


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Submission files.", metavar="FILE...")],
    board: Annotated[
        str | None, typer.Option(help="The board it must be for; else the one it names.")
    ] = None,
    rerun: Annotated[
        int,
        typer.Option(help="Nights, drawn at random, to execute again with the agent.", min=0),
    ] = 0,
    workers: Annotated[int, typer.Option(help="Nights executed again side by side.", min=1)] = 1,
    data: Data = None,
    salt: Salt = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write NAME.verdict.json beside each file.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Folder of submissions, a folder a board: refuse runs that stand there already.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Check a submission rule by rule; every number is recomputed from its answers.

    Exit code 1 if a rule is broken, 2 if a file cannot be verified here; the others are all the
    same. --rerun runs code: the submitted agent must be installed here, and you must trust it, or
    run this in a container without network.
    """
    from sleepgym.core.errors import SleepGymError, one_line
    from sleepgym_boards.board import load_board
    from sleepgym_boards.catalogue.entries import load_entries, verdict_file
    from sleepgym_boards.catalogue.replays import find_replay, with_replay
    from sleepgym_boards.sealed_seeds import read_salt
    from sleepgym_boards.submission.files import write_whole
    from sleepgym_boards.verification.verifier import verify_file

    chosen = load_board(board) if board else None
    opened = read_salt(salt) if salt else None
    others = load_entries(against) if against else []
    verdicts: list[Verdict | str] = []
    for path in paths:
        try:
            verdict = verify_file(
                path, chosen, data=data, salt=opened, reruns=rerun, workers=workers
            )
            if problem := find_replay(path, verdict, others):
                verdict = with_replay(verdict, problem)
            if write:
                write_whole(verdict.to_text().encode(), verdict_file(path))
        except SleepGymError as error:
            line = str(error) if str(path) in str(error) else f"{path}: {error}"
            print(f"sleepgym: {one_line(line)}", file=sys.stderr)
            verdicts.append(line)
            continue
        verdicts.append(verdict)
        if not as_json:
            _show(path, verdict, compared_with=against)
    if as_json:
        _print_json(verdicts)
    if any(isinstance(verdict, str) for verdict in verdicts):
        raise typer.Exit(2)
    if not all(verdict.ok for verdict in verdicts if not isinstance(verdict, str)):
        raise typer.Exit(1)


def _print_json(verdicts: Sequence[Verdict | str]) -> None:
    """A verdict, or a list of them; in place of one that there is not, why."""
    import json

    plain = [
        {"ok": False, "error": verdict}
        if isinstance(verdict, str)
        else {"ok": verdict.ok, **verdict.model_dump(mode="json")}
        for verdict in verdicts
    ]
    print(json.dumps(plain[0] if len(plain) == 1 else plain, indent=1, allow_nan=False))


def _show(path: Path, verdict: Verdict, compared_with: Path | None) -> None:
    """A table: a row a rule; then the headline, if all hold.

    A verdict has the rule ``replay`` only where it is broken; it is shown wherever it was checked.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from sleepgym.cli.console import console
    from sleepgym.core.errors import one_line
    from sleepgym_boards.verification.rules import RULES

    marks = {True: "[green]ok[/green]", False: "[red]FAIL[/red]", None: "-"}
    table = Table(title=escape(str(path)), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("rule", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("what it says")
    for rule in verdict.rules:
        lines = [RULES[rule.rule], *([rule.note] if rule.note else []), *rule.problems]
        words = "\n".join(escape(one_line(line)) for line in lines)
        table.add_row(rule.rule, marks[rule.ok], words)
    if compared_with and verdict.ok:
        words = f"{RULES['replay']}\ncompared with {compared_with}"
        table.add_row("replay", marks[True], escape(one_line(words)))
    console.print(table, highlight=False)
    if verdict.ok and verdict.results and verdict.header:
        results, name = verdict.results, verdict.header.card.name
        interval = results.interval.get("average_accuracy")
        mean = results.mean.get("average_accuracy")
        spread = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        shown = "-" if mean is None else f"{mean:.3f}"
        console.print(
            f"{verdict.mark.words if verdict.mark else '-'}. {name}: average accuracy "
            f"{shown}{spread}, budget class {results.budget_class}",
            highlight=False,
            markup=False,
        )

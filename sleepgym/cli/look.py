"""``look``: what a run was asked, what was right, what it said, and when it stopped knowing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sleepgym.cli.options import example

if TYPE_CHECKING:
    from sleepgym.scoring.failures import Trace


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        epilog=example(
            "sleepgym look runs/one", "sleepgym look runs/one --kind two-hop --day 1 --limit 5"
        )
    )(look)


def look(
    path: Annotated[Path, typer.Argument(help="Run directory.", metavar="DIR")],
    kind: Annotated[
        str | None, typer.Option(help="Only this kind of question, for example two-hop.")
    ] = None,
    day: Annotated[
        int | None, typer.Option(help="Only questions that this day teaches; 0: base.", min=0)
    ] = None,
    failures: Annotated[
        bool, typer.Option("--failures/--all", help="Only what was wrong at last, or everything.")
    ] = True,
    limit: Annotated[int, typer.Option(help="Questions to print in a pipe.", min=1)] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a question, all of them.")
    ] = False,
) -> None:
    """Read a run's failures: question, right answer, its answer, and when it was still right.

    In a terminal, page through them kind by kind; in a pipe, the first ones are printed.
    """
    from sleepgym.cli.console import console
    from sleepgym.core.errors import BadSetting, unknown_name
    from sleepgym.runs.records import read_run
    from sleepgym.scoring.failures import by_turns, trace_questions

    record = read_run(_one_run(path))
    traces = trace_questions(record)
    kinds = sorted({trace.kind for trace in traces})
    days = sorted({trace.day for trace in traces})
    if kind is not None and kind not in kinds:
        raise unknown_name("kind of question of this run", kind, kinds)
    if day is not None and day not in days:
        raise BadSetting(f"day={day}: this run asked about days {days[0]} to {days[-1]}")
    traces = [t for t in traces if kind in (None, t.kind) and day in (None, t.day)]
    shown = by_turns([trace for trace in traces if trace.failed or not failures])
    if as_json:
        for trace in shown:
            print(json.dumps({**asdict(trace), "failed": trace.failed}))
        return
    _print_summary(traces)
    if not shown:
        console.print("Nothing was wrong when it was last asked.")
    elif console.is_terminal and console.is_interactive:
        _browse(shown)
    else:
        for number, trace in enumerate(shown[:limit], start=1):
            _print_trace(trace, number, len(shown))
        if len(shown) > limit:
            console.print(f"... and {len(shown) - limit} more: --limit {len(shown)}, or --json")


def _one_run(path: Path) -> Path:
    """The folder itself, or the only run directory under it.

    Raises:
        BadRun: If there are several.
    """
    from sleepgym.core.errors import BadRun
    from sleepgym.scoring.comparisons import find_run_directories

    found = find_run_directories(path)
    if len(found) > 1:
        some = " or ".join(str(folder) for folder in found[:2])
        raise BadRun(f"{path} holds {len(found)} runs: look at one, such as {some}")
    return found[0]


def _print_summary(traces: Sequence[Trace]) -> None:
    """A row a kind: how many questions met which fate."""
    from rich import box
    from rich.table import Table

    from sleepgym.cli.console import console
    from sleepgym.scoring.failures import FATES

    counts = Counter((trace.kind, trace.fate) for trace in traces)
    fates = [fate for fate in FATES if any(trace.fate == fate for trace in traces)]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("kind", overflow="fold")
    for fate in fates:
        table.add_column(fate, justify="right")
    for kind in sorted({trace.kind for trace in traces}):
        table.add_row(kind, *(str(counts[kind, fate]) for fate in fates))
    console.print(table)
    legend = ". ".join(f"{fate}: {FATES[fate]}" for fate in fates)
    console.print(f"Questions by kind. {legend}.", style="dim", highlight=False)


def _print_trace(trace: Trace, number: int, total: int) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from sleepgym.cli.console import console

    day = f"day {trace.day}" if trace.day else "base knowledge"
    head = f"[{number}/{total}] {trace.kind}, {day}, {trace.fate}"
    console.print(Text(f"\n{head}", style="bold"), highlight=False)
    rows = [("question", trace.question or f"{trace.id} (this record holds no samples)")]
    if trace.choices:
        rows.append(("choices", " | ".join(trace.choices)))
    rows += [("right", " | ".join(trace.gold)), ("answer", trace.answer or "(empty)")]
    rows.append(("when", trace.story))
    for name, value in rows:
        if value:
            style = "red" if name == "answer" and trace.failed else ""
            text = Text.assemble((f"{name:<9}", "dim"), (_printable(value), style))
            console.print(Padding(text, (0, 0, 0, 2), expand=False), highlight=False)


def _printable(text: str) -> str:
    """A text on one line, without what could move the cursor of a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _browse(traces: Sequence[Trace]) -> None:
    """Page through questions; Enter goes on, a number chooses a kind, q ends."""
    from sleepgym.cli.console import console

    kinds = ["all", *sorted({trace.kind for trace in traces})]
    menu = "  ".join(f"{number} {kind}" for number, kind in enumerate(kinds))
    chosen, place = list(traces), 0
    while place < len(chosen):
        _print_trace(chosen[place], place + 1, len(chosen))
        place += 1
        console.print(f"Enter: next, q: quit, kinds: {menu}", style="dim", highlight=False)
        try:
            said = input("> ").strip()
        except EOFError:
            return
        if said == "q":
            return
        if said.isdigit() and int(said) < len(kinds):
            kind = kinds[int(said)]
            chosen = [trace for trace in traces if kind in ("all", trace.kind)]
            place = 0

"""What the command line prints."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sleepgym.core import registry
from sleepgym.core.errors import unknown_name
from sleepgym.core.settings import meanings, ranges

console = Console()
if not console.is_terminal:  # a file or a pipe has no width of its own
    console.width = 110

COLUMNS = {
    "average_accuracy": "final\nacc.",
    "evening_accuracy": "even-\ning",
    "morning_accuracy": "morn-\ning",
    "consolidation": "conso-\nlid.",
    "backward_transfer": "BWT",
    "forgetting_first_last": "forg.\n1st-T",
    "forgetting_max": "forg.\nmax",
    "base_retention": "base\nkept",
    "night_seconds": "s a\nnight",
    "state_bytes": "state\nbytes",
}


def show_names(kinds: Sequence[str]) -> None:
    """Print the registered names of each kind with one line about each."""
    from sleepgym.suite.suite import load_suite, suite_names

    rows = {
        "envs": [(entry.name, entry.summary) for entry in registry.envs.values()],
        "agents": [(entry.name, entry.summary) for entry in registry.agents.values()],
        "suites": [(name, load_suite(name).summary) for name in suite_names()],
        "boards": [(b.name, b.summary) for b in _board_module().load_boards()],
    }
    for kind in kinds:
        table = Table(title=kind, title_justify="left", box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for name, summary in sorted(rows[kind]):
            table.add_row(name, summary)
        console.print(table)
        console.print()


def show_settings(kind: str, name: str) -> None:
    """Print the settings of one environment, agent, suite or board."""
    if kind == "suites":
        from sleepgym.suite.suite import load_suite

        suite = load_suite(name)
        console.print(f"[bold]{name}[/bold]: {suite.summary}")
        tuned = "; tuned settings" if suite.tuned else ""
        console.print(f"seeds {', '.join(map(str, suite.seeds))}; model {suite.model}{tuned}")
        for part in (*suite.envs, *suite.agents):
            where = f" (on {', '.join(part.envs)})" if part.envs else ""
            line = f"  {part.label}: {part.id} {dict(part.settings)}{where}"
            console.print(line, markup=False, highlight=False)
        return
    if kind == "boards":
        console.print_json(_board_module().load_board(name).model_dump_json())
        return
    table_of = registry.envs if kind == "envs" else registry.agents
    if name not in table_of:
        raise unknown_name(kind[:-1], name, table_of)
    cls = table_of[name].load()
    console.print(f"[bold]{name}[/bold]: {table_of[name].summary}\n")
    table = Table(
        Column("setting", no_wrap=True),
        *("default", "range", "meaning"),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    words, limits = meanings(cls.Config), ranges(cls.Config)
    for field in fields(cls.Config):
        default = "required" if field.default is MISSING else str(field.default)
        cells = (default, limits.get(field.name, ""), words.get(field.name, ""))
        table.add_row(field.name, *map(escape, cells))
    console.print(table)
    for preset, settings in (
        getattr(cls, "presets", {}) or getattr(cls.Config, "presets", {})
    ).items():
        console.print(f"\npreset={preset}: {dict(settings)}", markup=False, highlight=False)


def _board_module() -> ModuleType:
    """The framework does not import boards: it finds them by name, as it finds agents and tasks."""
    return importlib.import_module("sleepgym_boards.board")


def show_scores(paths: Sequence[Path]) -> None:
    """Print a table an environment: a row an agent, mean and 95% interval over its seeds."""
    from sleepgym.scoring.comparisons import compare, read_finished
    from sleepgym.scoring.scores import aggregate, score_group

    for comparison in compare(read_finished(*paths)):
        seeds = sorted({record.meta["spec"]["seed"] for record in comparison.records})
        title = f"{comparison.title}; seeds {', '.join(map(str, seeds))}; mean \u00b1 95%"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("agent", no_wrap=True)
        for head in COLUMNS.values():
            table.add_column(head, justify="right", no_wrap=True)
        for configuration in comparison.configurations:
            group = score_group(configuration.records, comparison.records)
            group = group if "mean" in group else aggregate([group])
            cells = [_cell(group, name) for name in COLUMNS]
            table.add_row(configuration.label, *cells)
        console.print(table)


def print_json_scores(paths: Sequence[Path]) -> None:
    """Print one JSON object for one configuration, a list of them for several."""
    from sleepgym.scoring.comparisons import compare, read_finished
    from sleepgym.scoring.scores import score_group

    groups = [
        score_group(configuration.records, comparison.records)
        for comparison in compare(read_finished(*paths))
        for configuration in comparison.configurations
    ]
    print(json.dumps(groups[0] if len(groups) == 1 else groups, indent=1, allow_nan=False))


def _cell(group: dict[str, dict[str, Any]], name: str) -> str:
    """Mean, and half of its interval where there is one."""
    mean, interval = group["mean"].get(name), group["interval"].get(name)
    if mean is None:
        return "-"
    if name == "state_bytes":
        return (
            f"{mean:.0f}" if mean < 1e4 else f"{mean / 1e3:.0f}k" if mean < 1e7 else f"{mean:.1e}"
        )
    if name == "night_seconds":
        return f"{mean:.1f}"
    return f"{mean:.2f}" + (f"\n\u00b1{(interval[1] - interval[0]) / 2:.2f}" if interval else "")

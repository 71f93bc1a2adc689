"""Tables of scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from sleepgym.cli.console import console
from sleepgym.scoring.glossary import clip, clip_difference, heading

if TYPE_CHECKING:
    from sleepgym.scoring.pairs import Pair

__all__ = ["console", "print_json_scores", "show_pair", "show_scores"]

COLUMNS = (
    "average_accuracy",
    "evening_accuracy",
    "morning_accuracy",
    "backward_transfer",
    "base_retention",
    "night_seconds",
    "state_bytes",
    "consolidation",
    "forgetting_max",
    "gain",
)
"""Columns by how much they matter: the last ones give way where a terminal is too narrow."""
WITH_INTERVAL = ("average_accuracy", "backward_transfer")
LEGEND = {
    "average_accuracy": "after the last night, over all days",
    "evening_accuracy": "context still open",
    "morning_accuracy": "same questions after the night",
    "backward_transfer": "backward transfer, negative is forgetting",
    "base_retention": "share of what the model knew before day 1 that is left",
    "night_seconds": "mean of a night",
    "consolidation": "morning over evening",
    "forgetting_max": "best minus last accuracy on a day",
    "gain": "share of the frozen model's errors that is gone",
}
OVERVIEW_FROM = 3  # environments: that many tables are read together in one more
COMPARED = (*COLUMNS[:5], "forgetting_max", "retention", "night_seconds", "night_flops")


def show_scores(paths: Sequence[Path], verbose: bool = False) -> None:
    """Print a table an environment, a row an agent, the best average accuracy first.

    Args:
        paths: Run directories, or folders that hold some.
        verbose: Name every setting of the environment, not only those that differ from defaults.
    """
    from sleepgym.scoring.comparisons import compare, read_finished, seed_ranges
    from sleepgym.scoring.scores import aggregate, score_group

    told: dict[str, None] = {}  # columns of any table, in their order
    means: dict[str, dict[str, float | None]] = {}  # by environment and agent
    several = False
    for comparison in compare(read_finished(*paths)):
        rows = []
        for c in comparison.configurations:
            group = score_group(c.records, comparison.records)
            rows.append((c, group if "mean" in group else aggregate([group])))
        rows.sort(key=lambda row: -(row[1]["mean"]["average_accuracy"] or 0.0))
        settings = comparison.settings if verbose else comparison.changed
        seeds = {c.label: seed_ranges(r.meta["spec"]["seed"] for r in c.records) for c, _ in rows}
        same = len(set(seeds.values())) == 1
        where = comparison.environment["env"] + (f" ({settings})" if settings else "")
        shared = next(iter(seeds.values()))
        title = where + (f", seed{'' if shared.isdigit() else 's'} {shared}" if same else "")
        shown = {c.label + ("" if same else f" ({seeds[c.label]})"): group for c, group in rows}
        table, columns = _fit(shown)
        console.print(f"\n{escape(title)}", highlight=False)
        console.print(table)
        told |= dict.fromkeys(columns)
        several |= any(len(c.records) > 1 for c, _ in rows)
        means[where] = {c.label: group["mean"]["average_accuracy"] for c, group in rows}
    if len(means) >= OVERVIEW_FROM:
        _show_overview(means)
    console.print(_legend(list(told), several), style="dim", highlight=False, markup=False)


def _show_overview(means: Mapping[str, Mapping[str, float | None]]) -> None:
    """A table with a row an environment and a column an agent: average accuracy."""
    agents = list(dict.fromkeys(label for row in means.values() for label in row))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("environment", no_wrap=True)
    for label in agents:
        table.add_column(escape(label), justify="right", no_wrap=True)
    room = max(20, console.width - sum(max(4, len(label)) + 2 for label in agents) - 4)
    for where, row in means.items():
        name = where.removeprefix("sleepgym/")
        name = name if len(name) <= room else name[: room - 3] + "..."
        cells = [row.get(label) for label in agents]
        shown = ("-" if v is None else _value("average_accuracy", v) for v in cells)
        table.add_row(escape(name), *shown)
    console.print("\nAverage accuracy")
    console.print(table)


def show_pair(pair: Pair, verbose: bool = False) -> None:
    """Print the paired differences of two agents.

    Args:
        pair: What they scored on the streams that both ran.
        verbose: Every metric.
    """
    from sleepgym.scoring.comparisons import seed_ranges

    n = len(pair.seeds)
    streams = "1 shared seed" if n == 1 else f"{n} shared seeds"
    seeds = seed_ranges(pair.seeds)
    head = f"A = {pair.first}\nB = {pair.second}\n{streams}: {seeds}"
    console.print(head, markup=False, highlight=False)
    shown = pair.rows if verbose else [m for m in COMPARED if m in pair.rows]
    rows = {metric: pair.rows[metric] for metric in shown}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("metric", no_wrap=True)
    for name in ("A", "B", "A - B", "95% interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    for metric, (a, b, difference) in rows.items():
        interval = difference.interval
        ends = clip_difference(metric, (interval.low, interval.high)) if interval else None
        shown = f"[{_value(metric, ends[0])}, {_value(metric, ends[1])}]" if ends else "-"
        sign = "+" if difference.mean > 0 else ""
        table.add_row(
            heading(metric),
            _value(metric, a),
            _value(metric, b),
            sign + _value(metric, difference.mean),
            escape(shown),
            str(difference.n),
        )
    console.print(table)
    console.print(
        "Differences are paired seed by seed (both ran the same streams); the interval is over "
        "seeds: one that excludes 0 is a significant difference. n: seeds on which both sides "
        "define the metric.",
        style="dim",
        highlight=False,
    )


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


def _fit(rows: Mapping[str, dict[str, Any]]) -> tuple[Table, list[str]]:
    """The table with as many columns as the terminal is wide, and these columns."""
    known = [m for m in COLUMNS if any(g["mean"].get(m) is not None for g in rows.values())]
    while True:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("agent", overflow="fold")
        for metric in known:
            table.add_column(heading(metric).replace(" ", "\n"), justify="right", no_wrap=True)
        for label, group in rows.items():
            table.add_row(escape(label), *(escape(_cell(group, metric)) for metric in known))
        room = console.options.update(max_width=10_000)
        if len(known) <= 3 or Measurement.get(console, room, table).maximum <= console.width:
            return table, known
        known = known[:-1]


def _legend(columns: Sequence[str], several: bool) -> str:
    parts = [f"{heading(metric)}: {LEGEND[metric]}" for metric in columns if metric in LEGEND]
    if several:
        parts.append("[low, high]: 95% interval of the mean over seeds")
    return ". ".join([*parts, "All metrics: sleepgym score DIR --json"])


def _cell(group: dict[str, dict[str, Any]], name: str) -> str:
    """The mean, and under it its interval where there is one."""
    mean, ends = group["mean"].get(name), group["interval"].get(name)
    if mean is None:
        return "-"
    shown = _value(name, mean)
    if ends and name in WITH_INTERVAL:
        low, high = (_value(name, end) for end in clip(name, ends))
        shown += f"\n[{low}, {high}]"
    return shown


def _value(metric: str, value: float) -> str:
    if metric.endswith(("_bytes", "_flops", "_tokens", "_parameters")):
        return _amount(value)
    if metric.endswith("_seconds"):
        return f"{value:.1f}"
    text = f"{value:.2f}"
    return "0.00" if float(text) == 0 else text


def _amount(value: float) -> str:
    for power, suffix in enumerate(("", "k", "M", "G", "T", "P")):
        if abs(value) < 999.5 * 1000**power:
            return f"{value / 1000**power:.3g}{suffix}"
    return f"{value:.1e}"

"""The report: one self-contained HTML page, its pictures and tables, from the records alone."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from sleepgym.core.errors import BadRun, unknown_name
from sleepgym.reports import figures
from sleepgym.reports.drawing import theme
from sleepgym.scoring.comparisons import (
    STATELESS,
    Comparison,
    Configuration,
    command,
    compare,
    find_stateless,
    read_runs,
    stream_name,
)
from sleepgym.scoring.failures import FATES, by_turns, trace_questions
from sleepgym.scoring.glossary import clip, clip_difference, explain, heading
from sleepgym.scoring.regrading import announce, regrade
from sleepgym.scoring.scores import Scores, accuracy_matrix, aggregate, score_run
from sleepgym.scoring.statistics import paired_difference

HEADLINE = (
    "average_accuracy",
    "evening_accuracy",
    "morning_accuracy",
    "consolidation",
    "backward_transfer",
    "forgetting_max",
    "retention",
    "base_retention",
    "gain",
    "night_seconds",
    "state_bytes",
)
FAILURES = 12  # of a configuration's first run
COMPARED = ("average_accuracy", "morning_accuracy", "retention", "base_retention")

PageFigure = dict[str, Any]


def write_report(
    paths: Sequence[str | Path], out: str | Path, reference: str | None = None
) -> Path:
    """Write ``report.html``, its pictures, ``scores.csv`` and ``scores.json``.

    Answers are graded again wherever their stream can be built (:mod:`sleepgym.scoring.regrading`).

    Args:
        paths: Run directories, or folders that hold some. Runs that have not finished or cannot be
            read are listed as such and enter no number.
        out: Folder to write to; made if missing.
        reference: Label of the agent that the others are compared with, stream by stream; the
            stateless agent, if it ran, where None.

    Returns:
        The path of ``report.html``.

    Raises:
        BadRun: If no run can be read, or a configuration is given twice with one seed.
        UnknownName: If no agent is called ``reference``; nothing is written.
    """
    records, unreadable = read_runs(*paths)
    if not records:
        raise BadRun("; ".join(unreadable.values()))
    results = [regrade(record) for record in records if record.finished]
    remarks, finished = announce(results), [result.record for result in results]
    scores = {r.path: score_run(r, find_stateless(r, finished)) for r in finished}
    comparisons = [_best_first(comparison, scores) for comparison in compare(finished)]
    labels = {c.label for comparison in comparisons for c in comparison.configurations}
    if reference is not None and reference not in labels:
        raise unknown_name("agent of these runs", reference, labels)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for number, comparison in enumerate(comparisons, start=1):
        pictures = []
        for (name, caption, light), (_, _, dark) in zip(
            *(_drawn(comparison, scores, dark) for dark in (False, True)), strict=True
        ):
            file = f"{number:02}-{name}.png"
            (folder / file).write_bytes(light)
            width = round(int.from_bytes(light[16:20], "big") / 1.5)  # drawn at 150 dots an inch
            data = {"light": _base64(light), "dark": _base64(dark)}
            pictures.append({"file": file, "caption": caption, "width": width, **data})
        sections.append(_section(comparison, scores, pictures, reference or STATELESS))
    names = list(dict.fromkeys(name for run in scores.values() for name in run))
    page = _template().render(
        sections=sections,
        unfinished=[r for r in records if not r.finished],
        unreadable=unreadable,
        remarks=remarks,
        glossary={name: explain(name) for name in names},
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    _write_tables(comparisons, scores, folder)
    return folder / "report.html"


def number(value: float | None) -> str:
    """A value as tables show it: three decimals, thousands, or millions; a dash if undefined."""
    if value is None:
        return "–"
    if value == 0 or 0.0005 <= abs(value) < 1000:
        return f"{value:.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.3f}"
    if abs(value) < 1000:
        return f"{value:.3g}"
    if abs(value) < 1e6:
        return f"{value:,.0f}"
    suffixes = zip((1e6, 1e9, 1e12, 1e15), "MGTP", strict=True)
    size, suffix = max((pair for pair in suffixes if pair[0] <= abs(value)), key=lambda p: p[0])
    return f"{value / size:.3g}{suffix}"


def _best_first(comparison: Comparison, scores: dict[Path, Scores]) -> Comparison:
    """The same with its configurations in order of average accuracy."""

    def accuracy(group: Configuration) -> float:
        values = [scores[r.path]["average_accuracy"] or 0.0 for r in group.records]
        return sum(values) / len(values)

    order = sorted(comparison.configurations, key=accuracy, reverse=True)
    return replace(comparison, configurations=tuple(order))


def _drawn(
    comparison: Comparison, scores: dict[Path, Scores], dark: bool
) -> list[tuple[str, str, bytes]]:
    """Name, caption and PNG of each figure."""
    with theme(dark):
        return [(n, text, figures.to_png(made)) for n, text, made in _figures(comparison, scores)]


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _figures(
    comparison: Comparison, scores: dict[Path, Scores]
) -> Iterable[tuple[str, str, Figure]]:
    """Name, caption and figure; a figure that no run defines is left out."""
    groups = comparison.configurations
    counts = ", ".join(f"{c.label} {len(c.records)}" for c in groups)
    streams = (
        f"Streams: {counts}. Bars: 95% intervals over streams (bootstrap from five streams, "
        "Student's t below, none for one). Curves that meet are drawn side by side, less than 0.03 "
        "from their values."
    )
    spaced = (
        "Spaced exams ask recent days more often, and the last morning all days: the last step is "
        "no forgetting of one night. "
        if comparison.environment["exams"] == "spaced"
        else ""
    )
    sizes = {r.meta["days"] for r in comparison.records}
    if len(sizes) == 1:
        matrices = {c.label: [accuracy_matrix(r) for r in c.records] for c in groups}
        yield (
            "accuracy-matrix",
            "Accuracy by morning (rows) and by the day that was asked about (columns), mean over "
            f"streams. Hatched: not asked. Streams: {counts}.",
            figures.heat_maps(matrices),
        )
        yield (
            "retention",
            "Left: accuracy on a day by nights since its own morning. Right: share of the day's "
            "first accuracy that is left; agents that learned less than 0.1 overnight have nothing "
            f"to keep and are left out. {streams}",
            figures.retention_by_age(matrices),
        )
        yield (
            "nights",
            f"Accuracy over the days taught so far that were asked, after each night. {spaced}"
            f"{streams}",
            figures.accuracy_over_nights(matrices),
        )
    pairs = _points(groups, scores, "evening_accuracy", "morning_accuracy")
    if pairs:
        yield (
            "evening-morning",
            "Accuracy in the evening, the context open, and in the next morning, the context "
            "wiped, on the same questions. Large marks: means; small marks below: streams. "
            f"Streams: {counts}.",
            figures.evening_and_morning(pairs),
        )
    for cost, axis in (("night_seconds", "seconds a night"), ("night_flops", "FLOPs a night")):
        points = _points(groups, scores, cost, "average_accuracy")
        if points:
            yield (
                f"cost-{cost.removeprefix('night_')}",
                f"Average accuracy against {axis}. The grey line is the frontier: no cheaper agent "
                f"is more accurate. {streams}",
                figures.cost_frontier(points, axis),
            )


def _points(
    groups: Iterable[Configuration], scores: dict[Path, Scores], x: str, y: str
) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = {}
    for group in groups:
        for record in group.records:
            a, b = scores[record.path][x], scores[record.path][y]
            if a is not None and b is not None:
                points.setdefault(group.label, []).append((a, b))
    return points


def _section(
    comparison: Comparison, scores: dict[Path, Scores], pictures: list[PageFigure], reference: str
) -> dict[str, Any]:
    groups = {
        c.label: aggregate([scores[r.path] for r in c.records]) for c in comparison.configurations
    }
    names = list(dict.fromkeys(name for group in groups.values() for name in group["mean"]))
    return {
        "environment": comparison.environment["env"],
        "settings": comparison.changed,
        "all_settings": comparison.settings,
        "groups": groups,
        "headline": HEADLINE,
        "metrics": names,
        "pictures": pictures,
        "reference": reference,
        "compared": COMPARED,
        "differences": _differences(comparison, scores, reference),
        "configurations": comparison.configurations,
        **_failures(comparison),
    }


def _failures(comparison: Comparison) -> dict[str, Any]:
    """What became of the questions of each configuration, and some that were wrong at last."""
    counts, examples = {}, {}
    for c in comparison.configurations:
        traces = {r.path: trace_questions(r, remake=False) for r in c.records}
        found = Counter(trace.fate for run in traces.values() for trace in run)
        counts[c.label] = {fate: found[fate] for fate in FATES}
        first = by_turns(trace for trace in traces[c.records[0].path] if trace.failed)
        examples[c.label] = [trace for trace in first if trace.question][:FAILURES]
    return {"fates": FATES, "fate_counts": counts, "failures": examples}


def _differences(
    comparison: Comparison, scores: dict[Path, Scores], reference: str
) -> dict[str, dict[str, Any]]:
    """Label -> metric -> difference to the reference over the streams that both have run."""
    chosen = [c for c in comparison.configurations if c.label == reference]
    if not chosen:
        return {}
    table: dict[str, dict[str, Any]] = {}
    for group in comparison.configurations:
        if group.label == reference:
            continue
        for metric in COMPARED:
            mine, theirs = (_by_stream(c, scores, metric) for c in (group, chosen[0]))
            both = mine.keys() & theirs.keys()
            if both:
                difference = paired_difference(
                    {s: mine[s] for s in both}, {s: theirs[s] for s in both}
                )
                table.setdefault(group.label, {})[metric] = difference
    return table


def _by_stream(group: Configuration, scores: dict[Path, Scores], metric: str) -> dict[str, float]:
    values = {stream_name(r): scores[r.path][metric] for r in group.records}
    return {stream: value for stream, value in values.items() if value is not None}


def _write_tables(comparisons: list[Comparison], scores: dict[Path, Scores], folder: Path) -> None:
    from sleepgym.scoring.frames import frame, run_columns

    runs = [record for comparison in comparisons for record in comparison.records]
    rows = [run_columns(record) | scores[record.path] for record in runs]
    frame(rows).to_csv(folder / "scores.csv", index=False)
    groups = [
        {
            "environment": comparison.environment,
            "agent": c.label,
            "runs": {str(r.path): scores[r.path] for r in c.records},
            **aggregate([scores[r.path] for r in c.records]),
        }
        for comparison in comparisons
        for c in comparison.configurations
    ]
    text = json.dumps(groups, indent=1, allow_nan=False)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")


def _template() -> Any:
    loader = PackageLoader("sleepgym.reports", "templates")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "command": command,
        "heading": heading,
        "explain": explain,
        "clip": lambda ends, metric: clip(metric, ends),
        "clip_difference": lambda i, metric: clip_difference(metric, (i.low, i.high)),
        "plain": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
    }
    env.filters.update(filters)
    return env.get_template("report.html")

"""The tables of the site as files: CSV and JSON, the mark first.

The comparison of two methods is computed in the browser, and so are its files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleepgym.scoring.failures import Trace
from sleepgym_boards.board import Board
from sleepgym_boards.site.ablation import Ablation, Variant
from sleepgym_boards.site.methods import Method

Row = dict[str, Any]
_FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute


def method_rows(board: Board, methods: Sequence[Method]) -> list[Row]:
    """A board's table: mark, rank, what ran, then each metric's mean and interval."""
    results = [method.results for method in methods if method.results]
    metrics = dict.fromkeys(name for result in results for name in result.mean)
    return [_method_row(board, method, metrics) for method in methods]


def _method_row(board: Board, method: Method, metrics: Iterable[str]) -> Row:
    mark, results, header = method.mark, method.results, method.header
    reruns = mark.reruns if mark else None
    row: Row = {
        "mark": mark.name if mark else None,
        "nights_rerun": reruns.pairs if reruns else 0,
        "rerun_isolation": reruns.isolation if reruns else None,
        "rank_best": method.rank[0] if method.rank else None,
        "rank_worst": method.rank[1] if method.rank else None,
        "board": board.name,
        "class": results.budget_class if results else None,
        "method": method.name,
        "slug": method.slug,
        "agent": header.agent if header else None,
        "model": method.model,
        "model_parameters": method.model_parameters,
        "isolation": header.isolation if header else None,
        "date": header.date if header else None,
        "no_numbers_because": method.standing or None,
    }
    for name in metrics:
        ends = results.interval.get(name) if results else None
        row[name] = results.mean.get(name) if results else None
        row[f"{name}_low"], row[f"{name}_high"] = ends or (None, None)
    return row


def metric_rows(method: Method) -> list[Row]:
    """A method's metrics: mean, interval, interquartile mean, and by stream."""
    results, mark = method.results, method.mark
    assert results
    assert mark
    rows = []
    for name, mean in results.mean.items():
        low, high = results.interval.get(name) or (None, None)
        row: Row = {"mark": mark.name, "metric": name, "mean": mean, "low": low, "high": high}
        row["iqm"] = results.iqm.get(name)
        row |= {f"seed_{seed.seed}": seed.metrics.get(name) for seed in results.seeds}
        rows.append(row)
    return rows


def night_rows(method: Method) -> list[Row]:
    """A method's nights: what each did and cost, mean over streams."""
    assert method.results
    assert method.mark
    return [{"mark": method.mark.name, **night.model_dump()} for night in method.results.nights]


def trajectory_rows(method: Method, traces: Iterable[Trace]) -> list[Row]:
    """The questions of a run: what was right, what it answered when, and when it forgot."""
    assert method.mark
    return [
        {
            "mark": method.mark.name,
            "day": trace.day,
            "id": trace.id,
            "kind": trace.kind,
            "fate": trace.fate,
            "wrong_since_night": trace.wrong_since,
            "question": trace.question,
            "right": " | ".join(trace.gold),
            "answers": "; ".join(
                f"{span.exams}: {span.answer} ({'right' if span.right else 'wrong'})"
                for span in trace.spans
            ),
        }
        for trace in traces
    ]


def ablation_rows(board: Board, result: Ablation) -> list[Row]:
    """The rows of the ablation's picture, with their paired differences to the whole."""
    return [
        _variant_row(board, heading, variant)
        for heading, variants in result.groups.items()
        for variant in variants
    ]


def _variant_row(board: Board, heading: str, variant: Variant) -> Row:
    method, difference = variant.method, variant.difference
    results = method.results
    assert results
    assert method.mark
    row: Row = {
        "mark": method.mark.name,
        "group": heading,
        "variant": method.name,
        "slug": method.slug,
        "changed": variant.changed or None,
    }
    for name in dict.fromkeys((board.headline, "base_retention", "night_flops")):
        row[name] = results.mean.get(name)
        row[f"{name}_low"], row[f"{name}_high"] = results.interval.get(name) or (None, None)
    ends = difference.interval if difference else None
    row["difference"] = difference.mean if difference else None
    row["difference_low"], row["difference_high"] = (ends.low, ends.high) if ends else (None, None)
    return row


def rule_rows(rules: Mapping[str, str]) -> list[Row]:
    """The rules of verification."""
    return [{"rule": name, "says": says.replace("`", "")} for name, says in rules.items()]


def verdict_rows(method: Method) -> list[Row]:
    """A verdict, rule by rule."""
    verdict = method.entry.verdict
    return [
        {
            "mark": method.mark.name if method.mark else None,
            "rule": rule.rule,
            "holds": rule.ok,
            "remarks": " ".join([rule.note, *rule.problems]).strip() or None,
        }
        for rule in (verdict.rules if verdict else ())
    ]


def matrix_rows(method: Method) -> list[Row]:
    """A method's accuracy matrix: a row a morning, a column a day that was asked about."""
    assert method.results
    assert method.mark
    return [
        {"mark": method.mark.name, "morning_after_night": night}
        | {f"day_{day}" if day else "base": value for day, value in enumerate(row)}
        for night, row in enumerate(method.results.matrix)
    ]


def write_table(file: Path, rows: Sequence[Row]) -> None:
    """Write rows beside each other as ``FILE.csv`` and ``FILE.json``."""
    text = json.dumps(list(rows), ensure_ascii=False, indent=1, allow_nan=False)
    file.with_name(file.name + ".json").write_text(text + "\n", encoding="utf-8")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name)) for name in names] for row in rows])
    file.with_name(file.name + ".csv").write_text(stream.getvalue(), encoding="utf-8")


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

"""The tables of the site as files: CSV and JSON, a row a method, the mark first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sleepgym_boards.board import Board
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

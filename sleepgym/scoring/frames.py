"""Runs as pandas data frames."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sleepgym.runs.records import RunRecord
from sleepgym.scoring.comparisons import find_stateless, read_runs
from sleepgym.scoring.regrading import regraded
from sleepgym.scoring.scores import score_run


def load_runs(*paths: str | Path) -> pd.DataFrame:
    """Every answer of the runs under some folders, graded again: a row an answer.

    Args:
        *paths: As for :func:`read_runs`. A run directory that cannot be read is left out with a
            warning, and so is an edited line or score; the score that its answer is worth counts.

    Returns:
        The columns of :func:`run_columns` (the run), then those of ``answers.jsonl``.
    """
    return frame(run_columns(r) | line for r in regraded(_readable(paths)) for line in r.answers)


def load_nights(*paths: str | Path) -> pd.DataFrame:
    """Every night: a row a night; what the agent logged is in columns ``log.<name>``."""
    return frame(
        run_columns(record)
        | {name: value for name, value in night.items() if name != "log"}
        | {f"log.{name}": value for name, value in night["log"].items()}
        for record in _readable(paths)
        for night in record.nights
    )


def score_table(*paths: str | Path) -> pd.DataFrame:
    """Every run: a row a run, its metrics in columns; NaN where undefined or not finished."""
    records = regraded(_readable(paths))
    return frame(
        run_columns(r) | (score_run(r, find_stateless(r, records)) if r.finished else {})
        for r in records
    )


def run_columns(record: RunRecord) -> dict[str, Any]:
    """What tells a run from another: path, label, specification, stream, whether it finished."""
    spec = record.meta["spec"]
    return {
        "run": str(record.path),
        "label": record.meta.get("label") or spec["agent"],
        "env": spec["env"],
        "env_settings": json.dumps(spec["env_settings"], sort_keys=True),
        "agent": spec["agent"],
        "agent_settings": json.dumps(spec["agent_settings"], sort_keys=True),
        "seed": spec["seed"],
        "model": spec["model"],
        "stream_hash": record.meta["stream_hash"],
        "finished": record.finished,
    }


def _readable(paths: tuple[str | Path, ...]) -> list[RunRecord]:
    records, unreadable = read_runs(*paths)
    for folder, reason in unreadable.items():
        warnings.warn(f"left out {folder}: {reason}", stacklevel=3)
    return records


def frame(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Rows of plain values as a data frame."""
    return pd.DataFrame(list(rows))

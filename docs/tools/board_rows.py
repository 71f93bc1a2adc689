"""What the verdicts on a board's rows say, for tools that print tables of them."""

from __future__ import annotations

import json
from pathlib import Path

from sleepgym_boards.catalogue.entries import VERDICT_SUFFIX


def read_rows(folder: Path) -> dict[str, dict[int, dict[str, float]]]:
    """The metrics of a board's rows by slug and seed; of a row without results nothing."""
    rows: dict[str, dict[int, dict[str, float]]] = {}
    for file in sorted(folder.glob(f"*{VERDICT_SUFFIX}")):
        results = json.loads(file.read_text(encoding="utf-8")).get("results") or {}
        if seeds := {row["seed"]: row["metrics"] for row in results.get("seeds", ())}:
            rows[file.name.removesuffix(VERDICT_SUFFIX)] = seeds
    return rows

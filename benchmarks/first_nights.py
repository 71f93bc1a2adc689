"""What runs show up to some night, finished or not: so that a stopped comparison is not lost.

    python benchmarks/first_nights.py RUNS... --nights 5 [--against sleep]

RUNS are folders that hold ``.../LABEL/seed-N``. Of every label whose streams have come so far it
prints the mean over the days taught: in the evening, on the morning after each day's own night, and
on the morning after the last of these nights; and, over the streams that both have, the difference
of the last to another label, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from sleepgym.scoring.statistics import paired_difference

Scores = tuple[float, float, float]


def read_lines(path: Path) -> list[dict]:
    """The lines of a record that were written whole."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def scores_up_to(run: Path, nights: int) -> Scores | None:
    """Evening, next morning, and morning after the last of the nights; None before that."""
    steps = {line["step"]: line for line in read_lines(run / "phases.jsonl")}
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for line in read_lines(run / "answers.jsonl"):
        step = steps.get(line["step"])
        if step is not None:
            found[step["phase"], step["night"], line["item_day"]].append(line["score"])
    days = range(1, nights + 1)
    wanted = (
        [("evening", day - 1, day) for day in days],
        [("morning", day, day) for day in days],
        [("morning", nights, day) for day in days],
    )
    if any(place not in found for places in wanted for place in places):
        return None
    return tuple(fmean(fmean(found[place]) for place in places) for places in wanted)  # type: ignore


def main() -> None:
    """Print a line a label."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--nights", type=int, required=True)
    parser.add_argument("--against", default="sleep")
    chosen = parser.parse_args()
    found: dict[str, dict[str, Scores]] = defaultdict(dict)
    for folder in chosen.runs:
        for meta in sorted(folder.rglob("seed-*/run.json")):
            scores = scores_up_to(meta.parent, chosen.nights)
            if scores:
                found[meta.parent.parent.name][meta.parent.name] = scores
    for label, runs in sorted(
        found.items(), key=lambda item: -fmean(s[2] for s in item[1].values())
    ):
        evening, morning, last = (fmean(s[i] for s in runs.values()) for i in range(3))
        text = (
            f"{label}: {len(runs)} streams, evening {evening:.3f}, next morning {morning:.3f} "
            f"({morning / max(evening, 1e-9):.3f}), after night {chosen.nights} {last:.3f} "
            f"({last / max(evening, 1e-9):.3f})"
        )
        other = found.get(chosen.against, {})
        shared = sorted(runs.keys() & other.keys())
        if label != chosen.against and len(shared) > 1:
            sides = ({seed: side[seed][2] for seed in shared} for side in (runs, other))
            found_difference = paired_difference(*sides)
            ends = found_difference.interval
            text += f"; against {chosen.against} {found_difference.mean:+.3f}"
            text += f" [{ends.low:.3f}, {ends.high:.3f}]" if ends else ""
        print(text)


if __name__ == "__main__":
    main()

"""Our figures beside those of "Language Models Need Sleep" (arXiv:2606.03979), and whether they
point the same way.

    sleepgym suite leaderboards/suites/paper-squad.toml --data DIR --out runs/paper
    python docs/tools/paper_table.py runs/paper

RUNS holds ``TRACK/LABEL/seed-N``, as ``sleepgym suite`` writes them; what is missing is left out of
the table. Scales differ: the paper's models have 50 times as many weights, and a language model
judges its answers. So figures are not compared, only the sign of each row's difference to `Sleep`:
"yes" or "no" where the 95 % interval of ours (over the same streams) excludes 0, else "open".
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sleepgym.runs.records import read_run
from sleepgym.scoring.scores import score_run
from sleepgym.scoring.statistics import paired_difference

METRIC = "average_accuracy"
FULL = "sleep"


@dataclass(frozen=True)
class Row:
    """A row of the paper's tables.

    Attributes:
        label: Of our runs.
        name: What the paper calls it.
        figures: The paper's, in percent, by track; a track of bar charts has none.
        worse_on: Tracks without figures on which the paper ranks it below its own method.
    """

    label: str
    name: str
    figures: Mapping[str, float]
    worse_on: tuple[str, ...] = ()


def _squad(label: str, name: str, one: float, many: float) -> Row:
    """A row of the knowledge-incorporation table; its continued pretraining ran 200 passages."""
    return Row(label, name, {"squad-1": one, "squad-200": many, "squad-8": many})


TABLES = {
    "Knowledge incorporation (SQuAD, without the passage)": (
        _squad("frozen", "Base model", 31.9, 31.9),
        _squad("naive", "Fine-tuned, no dreaming", 33.4, 32.0),
        _squad("seal", "SEAL", 46.7, 43.2),
        _squad(FULL, "Sleep", 48.1, 44.3),
        _squad("sleep-4-levels", "Sleep, 4 levels", 48.9, 46.2),
        _squad("sleep-no-gradient", "without gradient selection", 47.1, 45.2),
        _squad("sleep-no-random-expert", "without random expert", 48.0, 44.7),
        _squad("sleep-no-dreaming", "without dreaming", 35.7, 36.2),
    ),
    "Class-incremental classification (CLINC150)": (
        Row("in-context", "ICL", {}, ("clinc150",)),
        Row("ewc", "EWC", {}, ("clinc150",)),
        Row("inca", "InCA", {}, ("clinc150",)),
        Row("continuum", "Hope", {}, ("clinc150",)),
        Row(FULL, "Sleep", {}),
    ),
}
TRACKS = {
    "squad-1": "one passage (n=1)",
    "squad-200": "200 passages in one night (n=200)",
    "squad-8": "eight days of four passages (beside n=200)",
    "clinc150": "150 intents, a domain a day",
}


def read_scores(runs: Path) -> dict[tuple[str, str], dict[int, float]]:
    """By track and label: the final accuracy of each seed whose run has finished."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for track in TRACKS:
        for meta in sorted((runs / track).glob("*/seed-*/run.json")):
            record = read_run(meta.parent)
            value = score_run(record)[METRIC] if record.finished else None
            if value is not None:
                label = meta.parent.parent.name
                found.setdefault((track, label), {})[record.meta["spec"]["seed"]] = value
    return found


def table(rows: tuple[Row, ...], track: str, scores: Mapping) -> list[str]:
    """The lines of one track; none where there are no runs of it."""
    if not any((track, row.label) in scores for row in rows):
        return []
    full = next(row for row in rows if row.label == FULL)
    lines = [
        f"### {TRACKS[track]}",
        "",
        "| | paper | ours | streams | paper's difference | ours [95 %] | same sign |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own, whole = scores.get((track, row.label), {}), scores.get((track, FULL), {})
        said = row.figures.get(track)
        cells = [
            row.name,
            f"{said:.1f}" if said is not None else "",
            f"{100 * fmean(own.values()):.1f}" if own else "not run",
            str(len(own)) if own else "",
            *_difference(row, full, track, own, whole),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _difference(
    row: Row, full: Row, track: str, own: Mapping[int, float], whole: Mapping[int, float]
) -> tuple[str, str, str]:
    """The paper's difference to its whole method, ours with its interval, whether signs agree."""
    if row.label == FULL:
        return "", "", ""
    if track in row.figures:
        theirs = row.figures[track] - full.figures[track]
        said = f"{theirs:+.1f}"
    else:
        theirs, said = (-1.0, "below") if track in row.worse_on else (0.0, "")
    shared = own.keys() & whole.keys()
    if len(shared) < 2:
        return said, "", ""
    found = paired_difference({s: own[s] for s in shared}, {s: whole[s] for s in shared})
    ends = found.interval
    ours = f"{100 * found.mean:+.1f}"
    if ends is None:
        return said, ours, "open"
    ours += f" [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
    decided = ends.low > 0 or ends.high < 0
    return said, ours, ("yes" if found.mean * theirs > 0 else "no") if decided else "open"


def page(runs: Path) -> str:
    """The tables of all tracks that have runs."""
    scores = read_scores(runs)
    lines: list[str] = []
    for title, rows in TABLES.items():
        own = [line for track in TRACKS for line in _of_track(rows, track, scores)]
        lines += [f"## {title}", "", *own] if own else []
    return "\n".join(lines)


def _of_track(rows: tuple[Row, ...], track: str, scores: Mapping) -> list[str]:
    named = any(track in row.figures or track in row.worse_on for row in rows)
    return table(rows, track, scores) if named else []


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: paper_table.py RUNS")
    print(page(Path(sys.argv[1])))

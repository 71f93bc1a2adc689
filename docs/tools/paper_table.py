"""Our figures beside those of "Language Models Need Sleep" (arXiv:2606.03979), and whether they
point the same way.

    sleepgym suite leaderboards/suites/paper-squad.toml --data DIR --out runs/paper
    sleepgym suite leaderboards/suites/paper-squad-200.toml --data DIR --out runs/paper
    python docs/tools/paper_table.py runs/paper [--data DIR] [--nights squad-8=3]

RUNS holds ``TRACK/LABEL/seed-N``, as ``sleepgym suite`` writes them; what is missing is left out of
the table. A track that has a board is read from its submissions too, unless its first nights are
asked for; a rival that was searched on the track itself (``LABEL-clinc150``) counts by the better
of its rows. Scales differ: the paper's models have 50 times as many weights, and a language model
judges its answers. So figures are not compared, only the sign of each row's difference to `Sleep`:
"yes" or "no" where the 95 % interval of ours (over the same streams) excludes 0, else "open".

With fewer than five streams, passages are resampled in place of streams: each is one value, the
mean difference over its questions in all streams (needs --data). ``--nights TRACK=N`` scores what
runs knew after their first N nights of the days up to then, so that runs that stopped there count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sleepgym.runs.records import read_lines
from sleepgym.scoring.statistics import FEWEST_FOR_BOOTSTRAP, paired_difference

sys.path.append(str(Path(__file__).parent))  # tests load this file by its path
from board_rows import read_rows

METRIC = "average_accuracy"
FULL = "sleep"
SUBMISSIONS = Path(__file__).parents[2] / "leaderboards" / "submissions"
# Track -> board.
BOARDS = {"squad-8": "squad-8", "clinc150": "class-incremental-v1"}
SEARCHED = "-clinc150"  # ends the label of a row whose settings were searched on CLINC150 itself
EARLIER = {"clinc150-5": "class-incremental-5", "clinc150-5-v1": "class-incremental-5-v1"}
Scores = Mapping[tuple[str, str], dict[int, float]]
Answers = dict[tuple[str, str], dict[int, dict[str, float]]]  # scores by seed and question


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


CLASSES = ("clinc150", "clinc150-5", "clinc150-5-v1")
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
        Row("in-context", "ICL", {}, CLASSES),
        Row("ewc", "EWC", {}, CLASSES),
        Row("inca", "InCA", {}, CLASSES),
        Row("continuum", "Hope", {}, CLASSES),
        Row(FULL, "Sleep", {}),
    ),
}
TRACKS = {
    "squad-1": "one passage (n=1)",
    "squad-200": "200 passages in one night (n=200)",
    "squad-8": "eight days of four passages (beside n=200)",
    "clinc150": "150 intents, a domain a day (board class-incremental-v1)",
    "clinc150-5-v1": "five days of five intents (board class-incremental-5-v1)",
    "clinc150-5": "five days of five intents, each asked among those seen (class-incremental-5)",
}


def read_answers(runs: Path, nights: Mapping[str, int]) -> Answers:
    """By track and label: what each seed knew of every question on the last morning wanted."""
    found: Answers = {}
    for track in TRACKS:
        for meta in sorted((runs / track).glob("*/seed-*/run.json")):
            said = json.loads(meta.read_text(encoding="utf-8"))
            last = nights.get(track, said["days"])
            lines = read_lines(meta.parent / "answers.jsonl")
            own = {
                line["id"]: line["score"]
                for line in lines
                if (line["phase"], line["night"]) == ("morning", last)
                and 1 <= line["item_day"] <= last
            }
            if own:
                label = meta.parent.parent.name
                found.setdefault((track, label), {})[said["spec"]["seed"]] = own
    return found


def read_submissions(folder: Path) -> dict[tuple[str, str], dict[int, float]]:
    """By track and label: the final accuracy of each seed, as the verdicts say."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for track, board in (BOARDS | EARLIER).items():
        for slug, said in read_rows(folder / board).items():
            seeds = {seed: metrics[METRIC] for seed, metrics in said.items()}
            label = slug.removesuffix(SEARCHED)
            if None not in seeds.values():
                rows = (found.get((track, label), seeds), seeds)
                found[track, label] = max(rows, key=lambda own: fmean(own.values()))
    return found


def passage_numbers(data: Path) -> dict[str, int]:
    """Question -> number of its passage in the file, of SQuAD's validation questions."""
    from sleepgym_tasks.datasets.squad_files import parse

    split = "squad_val"
    passages = parse(data / "squad_seal" / f"{split}.json")
    return {f"{split}/{q.id}": i for i, one in enumerate(passages) for q in one.questions}


def by_passage(
    own: Mapping[int, Mapping[str, float]],
    whole: Mapping[int, Mapping[str, float]],
    passages: Mapping[str, int],
) -> tuple[dict[int, float], dict[int, float]]:
    """Mean score of every passage over its questions in all streams that both sides have."""
    sides = defaultdict(list), defaultdict(list)
    for seed in own.keys() & whole.keys():
        for question in own[seed].keys() & whole[seed].keys() & passages.keys():
            for side, scores in zip(sides, (own, whole), strict=True):
                side[passages[question]].append(scores[seed][question])
    one, other = ({number: fmean(found) for number, found in side.items()} for side in sides)
    return one, other


def table(
    rows: tuple[Row, ...],
    track: str,
    scores: Scores,
    answers: Answers | None = None,
    passages: Mapping[str, int] | None = None,
) -> list[str]:
    """The lines of one track; none where there are no runs of it.

    Args:
        rows: Of the table.
        track: One of :data:`TRACKS`.
        scores: Final accuracy by track and label, and seed.
        answers: What it is the mean of, where that is at hand.
        passages: Number of each question's passage; resampled where there are few streams.
    """
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
        if passages and answers and 0 < len(own.keys() & whole.keys()) < FEWEST_FOR_BOOTSTRAP:
            sides = (answers.get((track, label), {}) for label in (row.label, FULL))
            units = by_passage(*sides, passages)
        else:
            units = own, whole
        cells = [
            row.name,
            f"{said:.1f}" if said is not None else "",
            f"{100 * fmean(own.values()):.1f}" if own else "not run",
            str(len(own)) if own else "",
            *_difference(row, full, track, *units),
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
        theirs, said = -1.0, "below"
    shared = own.keys() & whole.keys()
    if len(shared) < 2:
        return said, "", ""
    found = paired_difference({s: own[s] for s in shared}, {s: whole[s] for s in shared})
    ends = found.interval
    ours = f"{100 * found.mean:+.1f}"
    if ends is None:
        return said, ours, "open"
    ours += f" [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
    if ends.low <= 0 <= ends.high:
        return said, ours, "open"
    return said, ours, "yes" if found.mean * theirs > 0 else "no"


def page(
    runs: Path | None, nights: Mapping[str, int], data: Path | None, submissions: Path = SUBMISSIONS
) -> str:
    """The tables of all tracks that have runs or submissions."""
    answers = read_answers(runs, nights) if runs else {}
    whole = {  # what a board says is of all nights
        place: seeds
        for place, seeds in read_submissions(submissions).items()
        if place[0] not in nights
    }
    scores = whole | {
        place: {seed: fmean(own.values()) for seed, own in seeds.items()}
        for place, seeds in answers.items()
    }
    passages = passage_numbers(data) if data else {}
    lines: list[str] = []
    for title, rows in TABLES.items():
        own = []
        for track in TRACKS:
            if any(track in row.figures or track in row.worse_on for row in rows):
                own += table(rows, track, scores, answers, passages)
        lines += [f"## {title}", "", *own] if own else []
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="?", help="TRACK/LABEL/seed-N; else submissions")
    parser.add_argument("--data", type=Path, default=os.environ.get("SLEEPGYM_DATA"))
    parser.add_argument("--nights", action="append", default=[], metavar="TRACK=N")
    given = parser.parse_args()
    nights = {track: int(n) for track, _, n in (pair.partition("=") for pair in given.nights)}
    print(page(given.runs, nights, Path(given.data) if given.data else None))


if __name__ == "__main__":
    main()

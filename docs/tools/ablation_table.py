"""Seeding or dreaming? What each part of `sleep` is worth on Almanac, by kind of question too.

    sleepgym suite ablation --seeds 100-109 --out runs/ablation
    python docs/tools/ablation_table.py [--read runs/ablation]
    sleepgym suite leaderboards/suites/squad-ablation.toml --data DIR --out runs/squad-ablation
    python docs/tools/ablation_table.py [--read-squad runs/squad-ablation]

Prints tables from ``ablation_streams.jsonl``, a line a run; --read puts the finished runs of a
folder that holds ``.../LABEL/seed-N`` there, in place of those that the file has of these labels
and seeds, and --read-squad those of squad-8 into ``ablation_squad_nights.jsonl``. Stages on real
text are read from the submissions of the board squad-8; what ran there for three nights, with the
paper's parts on, is in ``ablation_squad.jsonl``, as ``benchmarks/first_nights.py RUNS --nights 3``
prints it of runs. Figures are of the last morning, in percent; differences are paired by stream,
with their 95 % interval. Of a kind that a stream does not ask, that stream is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

from sleepgym.runs.records import read_run
from sleepgym.scoring.scores import score_run
from sleepgym.scoring.statistics import bootstrap_interval, paired_difference

sys.path.append(str(Path(__file__).parent))  # tests load this file by its path
from board_rows import read_rows

FILE = Path(__file__).with_name("ablation_streams.jsonl")
FIRST_NIGHTS = FILE.with_name("ablation_squad.jsonl")
ALL_NIGHTS = FILE.with_name("ablation_squad_nights.jsonl")
SQUAD = Path(__file__).parents[2] / "leaderboards" / "submissions" / "squad-8"
WHOLE, SEEDING, DREAMING = "sleep", "without-dreaming", "without-seeding"
PLAIN = "sleep-plain"  # the whole on squad-8, its settings but the paper's parts
SUBMITTED = {"sleep": WHOLE, "seeding": SEEDING, "dreaming": DREAMING}
# Twice the samples a night, dreaming trained as much as seeding.
TWICE = {"sleep-twice-many-dreams": WHOLE, "seeding-twice": SEEDING, "dreaming-twice": DREAMING}
FINAL = "average_accuracy"
SHOWN = {"accuracy_two_hop_days": "across days", "accuracy_locality": "locality"}
KEPT = "base_retention"
COST = "night_flops"
KINDS = {
    FINAL: "all",
    "accuracy_direct": "direct",
    "accuracy_paraphrase": "paraphrase",
    "accuracy_unseen": "unseen wording",
    "accuracy_reversed": "reversed",
    "accuracy_alias": "alias",
    "accuracy_updated": "updated",
    "accuracy_two_hop": "two-hop within a day",
    "accuracy_two_hop_days": "two-hop across days",
    "accuracy_override": "override of the base",
    "accuracy_locality": "locality",
    KEPT: "base kept",
}
# Heading -> the two labels whose difference it is.
STAGES = {
    "seeding adds to dreaming": (WHOLE, DREAMING),
    "dreaming adds to seeding": (WHOLE, SEEDING),
    "seeding alone less dreaming alone": (SEEDING, DREAMING),
}
Streams = Mapping[int, float]
Scores = dict[str, dict[int, dict[str, float]]]  # label -> seed -> metrics


def read_file(file: Path) -> list[dict]:
    """The lines of a file, one a run; none where it is not there."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def read_finished(runs: Path) -> list[dict]:
    """A line for every finished run under a folder."""
    lines = []
    for meta in sorted(runs.rglob("seed-*/run.json")):
        record = read_run(meta.parent)
        if record.finished:
            scores = score_run(record)
            lines.append(
                {
                    "label": meta.parent.parent.name,
                    "seed": record.meta["spec"]["seed"],
                    "commit": record.meta["commit"],
                    "metrics": {
                        name: round(value, 4)
                        for name in (*KINDS, COST)
                        if (value := scores.get(name)) is not None
                    },
                }
            )
    return lines


def merge(before: Iterable[dict], after: Iterable[dict]) -> list[dict]:
    """Lines of both, the later in place of the earlier, by label and seed."""
    found = {(line["label"], line["seed"]): line for line in (*before, *after)}
    return [found[place] for place in sorted(found)]


def collect(lines: Iterable[dict]) -> Scores:
    """What each label scored, by seed."""
    scores: Scores = {}
    for line in lines:
        scores.setdefault(line["label"], {})[line["seed"]] = line["metrics"]
    return scores


def read_board(folder: Path) -> Scores:
    """What the verdicts on a board's rows say of the metrics shown here, by row and seed."""
    return {
        slug: {
            seed: {k: said[k] for k in (*KINDS, COST) if said.get(k) is not None}
            for seed, said in seeds.items()
        }
        for slug, seeds in read_rows(folder).items()
    }


def of_metric(scores: Scores, label: str, metric: str) -> Streams:
    """A metric of a label by seed, where it is defined."""
    own = scores.get(label, {})
    return {seed: metrics[metric] for seed, metrics in own.items() if metric in metrics}


def difference(one: Streams, other: Streams) -> str:
    """The mean difference over the streams that both have, in points, bold where it is not 0."""
    shared = one.keys() & other.keys()
    if len(shared) < 2:
        return ""
    found = paired_difference({s: one[s] for s in shared}, {s: other[s] for s in shared})
    text = f"{100 * found.mean:+.1f}"
    if found.interval is None:
        return text
    low, high = found.interval.low, found.interval.high
    text += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return text if low <= 0 <= high else f"**{text}**"


def mean(values: Streams) -> str:
    """The mean with its interval, in percent."""
    if not values:
        return ""
    ends = bootstrap_interval(values.values())
    text = f"{100 * fmean(values.values()):.1f}"
    return text + (f" [{100 * ends.low:.1f}, {100 * ends.high:.1f}]" if ends else "")


def part_lines(scores: Scores, whole: str = WHOLE) -> list[str]:
    """A row a variant, the whole first, then by their means."""
    lines = [
        f"| | streams | final | difference to `{whole}` | {' | '.join(SHOWN.values())} "
        "| base kept | GFLOP a night |",
        "|---" * (6 + len(SHOWN)) + "|",
    ]
    for label in sorted(scores, key=lambda name: (name != whole, -fmean_of(scores, name))):
        own = of_metric(scores, label, FINAL)
        apart = [
            ""
            if label == whole
            else difference(of_metric(scores, label, metric), of_metric(scores, whole, metric))
            for metric in (FINAL, *SHOWN)
        ]
        kept = mean(of_metric(scores, label, KEPT)).partition(" ")[0]
        spent = [value / 1e9 for value in of_metric(scores, label, COST).values()]
        cost = f"{fmean(spent):,.0f}" if spent else ""
        lines.append(
            f"| {label} | {len(own)} | {mean(own)} | {' | '.join(apart)} | {kept} | {cost} |"
        )
    return lines


def fmean_of(scores: Scores, label: str) -> float:
    """Mean final accuracy of a label."""
    return fmean(of_metric(scores, label, FINAL).values())


def kind_lines(scores: Scores) -> list[str]:
    """A row a kind of question: each stage alone, both, and what each adds to the other."""
    lines = [
        f"| kind | seeding alone | dreaming alone | both | {' | '.join(STAGES)} |",
        "|---" * (4 + len(STAGES)) + "|",
    ]
    for metric, kind in KINDS.items():
        cells = [
            mean(of_metric(scores, label, metric)).partition(" ")[0]
            for label in (SEEDING, DREAMING, WHOLE)
        ]
        cells += [
            difference(of_metric(scores, one, metric), of_metric(scores, other, metric))
            for one, other in STAGES.values()
        ]
        if any(cells):
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def main(words: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--read", type=Path, metavar="RUNS", help="put its finished runs there")
    parser.add_argument("--read-squad", type=Path, metavar="RUNS", help="the same, of squad-8")
    given = parser.parse_args(words)
    scores = collect(updated(FILE, given.read))
    print("\n".join(["## Parts", "", *part_lines(scores), ""]))
    print("\n".join(["## Stages, by kind of question", "", *kind_lines(scores), ""]))
    rows = read_board(SQUAD)
    board, twice = (
        {label: rows[slug] for slug, label in slugs.items() if slug in rows}
        for slugs in (SUBMITTED, TWICE)
    )
    print("\n".join(["## Stages on real text (squad-8)", "", *kind_lines(board), ""]))
    print("\n".join(["## The same, twice the samples (squad-8)", "", *kind_lines(twice), ""]))
    for whole in (WHOLE, next(iter(TWICE))):
        print("\n".join(["## All rows on real text (squad-8)", "", *part_lines(rows, whole), ""]))
    plain = collect(updated(ALL_NIGHTS, given.read_squad))
    plain[SEEDING] = board.get(SEEDING, {}) | plain.get(SEEDING, {})  # has none of the parts
    parts = part_lines({label: own for label, own in plain.items() if own}, PLAIN)
    print("\n".join(["## Parts on real text (squad-8, all eight nights)", "", *parts, ""]))
    first = part_lines(collect(read_file(FIRST_NIGHTS)))
    print("\n".join(["## Parts on real text (squad-8, three nights)", "", *first]))


def updated(file: Path, runs: Path | None) -> list[dict]:
    """The lines of a file; with a folder of runs its finished ones are put into it first."""
    lines = read_file(file)
    if runs:
        lines = merge(lines, read_finished(runs))
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        file.write_text(text, encoding="utf-8")
    return lines


if __name__ == "__main__":
    main()

"""Fill the tables of results in ``docs/tasks`` from the runs of the suite ``tracks``.

    sleepgym suite tracks --out runs/tracks [--model NAME] [--seeds 100-102]
    python docs/tools/track_tables.py runs/tracks

One table a track: accuracy in the evening, the next morning and on the last morning, and what is
left of base knowledge; of edits the kinds of the last morning too. Means over the seeds that every
agent has finished. A table is replaced where all of its five agents have finished one, or all but
`sleep`, whose row then says so, unless the page's table is whole; what else stands on a page is
left as it is. Other agents in a track's folder that have finished the same seeds follow the five:

    sleepgym run --env sleepgym/Haystack-v0 --env-set days=2 --env-set values=words \
        --agent duo-attention --model NAME --seeds 100-102 --out runs/tracks/haystack/duo-attention
"""

import argparse
import re
from pathlib import Path

import numpy as np

from sleepgym.runs.records import RunRecord, read_run
from sleepgym.scoring.scores import score_run

FOLDER = Path(__file__).parents[1] / "tasks"
PAGES = {
    "almanac": "almanac",
    "almanac-hard": "almanac-hard",
    "edits": "knowledge-edit",
    "counterfact": "knowledge-edit",
    "chronicles": "long-docs",
    "lifelong": "lifelong",
    "retention": "retention",
    "codebook": "codebook",
    "classes": "class-incremental",
    "clinc150": "class-incremental",
    "grids": "few-shot-arc",
    "arc": "few-shot-arc",
    "haystack": "haystack",
    "needles": "haystack",
    "stories": "babilong",
    "babi": "babilong",
    "arithmetic": "math-reasoning",
    "languages": "continual-translation",
    "sequence": "task-sequence",
    "squad": "squad",
    "jsonl": "jsonl",
}
AGENTS = ("frozen", "in-context", "retrieval", "naive", "sleep")
COLUMNS = {
    "evening_accuracy": "evening",
    "morning_accuracy": "next morning",
    "average_accuracy": "last morning",
    "base_retention": "base left",
}
_PROBES = ("reliability", "generalisation", "portability", "locality")
KINDS = dict.fromkeys(("edits", "counterfact"), _PROBES)  # accuracies of the last morning by kind
OWN = "jsonl"  # its data folder is not the suite's: five runs by hand
_TITLE = "## Results"
_NOT_RUN = "not run"

Records = dict[str, dict[int, RunRecord]]  # of a label: agent -> seed -> its finished run


def table(label: str, records: Records) -> str:
    """The section of one track, in Markdown."""
    seeds = _shared_seeds(records)
    records = {agent: runs for agent, runs in records.items() if set(runs) >= set(seeds)}
    spec = records["frozen"][seeds[0]].meta["spec"]
    columns = COLUMNS | {f"accuracy_{kind}": kind for kind in KINDS.get(label, ())}
    scores = {agent: [score_run(runs[seed]) for seed in seeds] for agent, runs in records.items()}
    known = {
        name for runs in scores.values() for one in runs for name in one if one[name] is not None
    }
    columns = {name: column for name, column in columns.items() if name in known}
    lines = [
        *_origin(label, Path(spec["model"] or "no model").name, seeds, set(records) - set(AGENTS)),
        "",
        "| agent | " + " | ".join(columns.values()) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for agent in (*AGENTS, *(agent for agent in scores if agent not in AGENTS)):
        if agent not in scores:
            lines.append(f"| `{agent}` |" + f" {_NOT_RUN} |" * len(columns))
            continue
        cells = (_mean([one.get(name) for one in scores[agent]]) for name in columns)
        lines.append(f"| `{agent}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shared_seeds(records: Records) -> list[int]:
    """The seeds that the five agents have finished, those of them that have any."""
    return sorted(set.intersection(*(set(records[a]) for a in AGENTS if a in records)))


def _origin(label: str, model: str, seeds: list[int], others: set[str]) -> list[str]:
    """What a table is of, and the commands that print it."""
    many = len(seeds) > 1
    words = f"mean of seeds {', '.join(map(str, seeds))}" if many else f"seed {seeds[0]}"
    span = ",".join(map(str, seeds))
    if many and seeds == [*range(seeds[0], seeds[-1] + 1)]:
        span = f"{seeds[0]}-{seeds[-1]}"
    with_seeds = f" --seeds {span}" if many or seeds != [100] else ""
    with_model = "" if model == "embedded" else f" --model {model}"
    command = f"sleepgym suite tracks{with_model}{with_seeds} --out runs/tracks"
    what = f"`{label}` of the suite `tracks`"
    if label == OWN:
        what = f"`{label}`: the four questions above"
        place = f"--seeds {span} --out runs/tracks/{label}/AGENT"
        if not many:
            place = f"--seed {span} --out runs/tracks/{label}/AGENT/seed-{span}"
        command = (
            f"sleepgym run --env sleepgym/Jsonl-v0 --data docs/tasks/example{with_model}"
            f" --agent AGENT {place}"
        )
    beside = f" (`{'`, `'.join(sorted(others))}`: by `sleepgym run`)" if others else ""
    return [
        f"{what}, {words}, model `{model}`; {'small streams' if many else 'one small stream'},"
        " a check that the track runs and not a comparison. Printed by",
        f"`{command}`{beside} and `python docs/tools/track_tables.py runs/tracks`:",
    ]


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else "-"


def fill(page: Path, sections: dict[str, str]) -> None:
    """Put the sections under the page's heading of results; what else stands there stays."""
    before, _, results = page.read_text().partition(_TITLE)
    for label, section in sections.items():
        old = re.compile(
            rf"^`{label}`(?: of the suite|:).*?\n\n(?:\|[^\n]*\n)+", re.DOTALL | re.MULTILINE
        )
        found = old.search(results)
        if found and _NOT_RUN in section and _NOT_RUN not in found[0]:
            continue  # what is there says more
        if found:
            results = old.sub(lambda _, new=section: new, results, count=1)
        else:
            results = f"{results.rstrip()}\n\n{section}"
    page.write_text(f"{before}{_TITLE}\n\n{results.lstrip()}")


def read(folder: Path) -> Records:
    """The finished runs of a label, the five agents first; agents without one are left out."""
    records: Records = {}
    others = {place.parent.name for place in folder.glob("*/seed-*")} - set(AGENTS)
    for agent in (*AGENTS, *sorted(others)):
        for place in sorted((folder / agent).glob("seed-*")):
            record = read_run(place)
            if record.finished:
                records.setdefault(agent, {})[record.meta["spec"]["seed"]] = record
    return records


def main(runs: Path) -> None:
    """Replace the tables whose runs have finished."""
    for label, page in PAGES.items():
        records = read(runs / label)
        if set(records) >= set(AGENTS) - {"sleep"} and _shared_seeds(records):
            fill(FOLDER / f"{page}.md", {label: table(label, records)})
            print(f"{page}: {label}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of the suite's runs")
    main(parser.parse_args().runs)

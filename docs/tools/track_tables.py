"""Fill the tables of results in ``docs/tasks`` from the runs of the suite ``tracks``.

    sleepgym suite tracks --out runs/tracks [--model NAME]
    python docs/tools/track_tables.py runs/tracks

One table a track: accuracy in the evening, the next morning and on the last morning, and what is
left of base knowledge; of edits the kinds of the last morning too. A table is replaced where all of
its five agents have finished, or all but `sleep`, whose row then says so.
"""

import re
import sys
from pathlib import Path

from sleepgym.runs.records import RunRecord, read_run
from sleepgym.scoring.scores import score_run

FOLDER = Path(__file__).parents[1] / "tasks"
PAGES = {
    "almanac-hard": "almanac-hard",
    "edits": "knowledge-edit",
    "counterfact": "knowledge-edit",
    "chronicles": "long-docs",
    "lifelong": "lifelong",
    "retention": "retention",
    "grids": "few-shot-arc",
    "arc": "few-shot-arc",
    "haystack": "haystack",
    "needles": "haystack",
    "stories": "babilong",
    "babi": "babilong",
    "arithmetic": "math-reasoning",
    "languages": "continual-translation",
    "sequence": "task-sequence",
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
_TITLE = "## Results"


def table(label: str, records: dict[str, RunRecord]) -> str:
    """The section of one track, in Markdown."""
    spec = records["frozen"].meta["spec"]
    model = Path(spec["model"] or "no model").name
    columns = COLUMNS | {f"accuracy_{kind}": kind for kind in KINDS.get(label, ())}
    scores = {agent: score_run(record) for agent, record in records.items()}
    known = {name for one in scores.values() for name, value in one.items() if value is not None}
    columns = {name: column for name, column in columns.items() if name in known}
    lines = [
        f"`{label}` of the suite `tracks`, seed {spec['seed']}, model `{model}`; one small stream,"
        " a check that the track runs and not a comparison. Printed by",
        f"`sleepgym suite tracks{'' if model == 'embedded' else ' --model ' + model}"
        " --out runs/tracks` and `python docs/tools/track_tables.py runs/tracks`:",
        "",
        "| agent | " + " | ".join(columns.values()) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for agent in AGENTS:
        if agent not in scores:
            lines.append(f"| `{agent}` |" + " not run |" * len(columns))
            continue
        values = [scores[agent].get(name) for name in columns]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| `{agent}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def fill(page: Path, sections: dict[str, str]) -> None:
    """Put the sections under the page's heading of results; those of other labels stay."""
    before, _, results = page.read_text().partition(_TITLE)
    old = dict.fromkeys(re.findall(r"^`([\w-]+)` of the suite", results, flags=re.MULTILINE), "")
    for label in old:
        found = re.search(rf"^`{label}` of the suite.*?(?=\n\n`|\Z)", results, re.DOTALL | re.M)
        old[label] = f"{found[0].rstrip()}\n" if found else ""
    page.write_text(f"{before}{_TITLE}\n\n" + "\n".join((old | sections).values()))


def main(runs: Path) -> None:
    """Replace the tables whose runs have finished."""
    by_page: dict[str, dict[str, str]] = {}
    for label, page in PAGES.items():
        folders = {agent: sorted((runs / label / agent).glob("seed-*")) for agent in AGENTS}
        records = {agent: read_run(found[0]) for agent, found in folders.items() if found}
        records = {agent: record for agent, record in records.items() if record.finished}
        if set(records) >= set(AGENTS) - {"sleep"}:
            by_page.setdefault(page, {})[label] = table(label, records)
    for page, sections in by_page.items():
        fill(FOLDER / f"{page}.md", sections)
        print(f"{page}: {', '.join(sections)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

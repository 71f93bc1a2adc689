"""Write ``docs/results.md``, its figure and the README's table from the committed submissions.

Every number is a verdict's (:mod:`sleepgym_boards.verification.verifier`), made from the run
records in the submission; nothing is run here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from sleepgym.reports import drawing
from sleepgym.reports.figures import draw_frontier, to_png
from sleepgym.scoring.statistics import paired_difference
from sleepgym.suite.suite import load_suite
from sleepgym_boards.board import load_board
from sleepgym_boards.catalogue.entries import Entry, load_entries
from sleepgym_boards.verification.verdict import Results

sys.path.append(str(Path(__file__).parent))  # tests load this file by its path
from model_tables import model_lines

DOCS = Path(__file__).parents[1]
SUBMISSIONS = DOCS.parent / "leaderboards" / "submissions"
PAGE, FIGURE = DOCS / "results.md", DOCS / "images" / "results.png"
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# Of the README's table: what each keeps in a few words.
SHOWN = {
    "in-context": "nothing",
    "naive": "weights, fine-tuned on the day's text",
    "replay": "weights, fine-tuned on the day's text and a sample of older text",
    "context-distillation": "an adapter distilled from the self that has the day open",
    "cartridge": "a trained prefix a day",
    "sleep": "an expert a day: Knowledge Seeding, then Dreaming",
    "retrieval": "all text, searched at every question (BM25)",
}
SHOWN_METRICS = ("evening_accuracy", "morning_accuracy", "average_accuracy", "base_retention")
# Title of a track -> the boards that ask it; the first that has a method tells.
TRACKS = {
    "Almanac": ("almanac-8-v1", "open-v1"),
    "Codebook": ("codebook-8",),
    "CLINC150, ten days": ("class-incremental-v1",),
    "CLINC150, five days": ("class-incremental-5-v1",),
}
HORIZONS = {"64 days": ("almanac-64-v1",), "256 days": ("lifelong-256-v1",)}  # not in the figure
REAL = {"Almanac, with smollm2-reader": ("almanac-8-any",)}  # nor these
BOARDS = TRACKS | HORIZONS | REAL
NOTES = {
    "Almanac": """"Base kept" is relative to an agent's own first exam. `recurrent-memory` answers
few base questions while its memory is empty and more once it holds text, so that it keeps more
than all.
""",
    "Codebook": """Rows dated 2026-11-24 and 2026-11-25 are older: of the search that counted base
retention, and of the code of those days. `sleep`, `seeding` and `dreaming` learn practice by its
content since (rules by the names in their questions); their rows have the defaults of before
three parts without effect were switched off ([sleep](agents/sleep.md)).
""",
    "CLINC150, ten days": """Labels are made-up words; every question offers all 150. All have the
settings of the search named above, `ewc` and its like those of Almanac; some were searched on five
days of CLINC150 ([below](#clinc150-five-days)).
How `sleep` learns classes was designed on CLINC150 streams below seed 100 (the sketch of tokens on
0-2), which is a head start: a Gaussian for each label, over hidden states and a sketch of the
question's tokens. These answer; an expert is unlocked only on nights when it answers better, and
none was, so that `seeding` and `dreaming` answer as `sleep` does, word by word: boards refuse
replays, and one row stands for the three. No text is kept but the labels. Evenings are answered
from the open context, which holds a part of the day.
""",
    "Almanac, with smollm2-reader": """The base model has 134.5 million parameters. The suite
`leaderboards/suites/almanac-8-any.toml` says which settings were searched, and how; the page of
[Almanac](tasks/almanac.md#with-a-real-model) what the rows show. "Base kept" says nothing here: of
the base questions, which ask about the embedded model's world, this model answers one or none.
""",
    "CLINC150, five days": """Settings as on ten days. `inca`, `ewc`, `replay`, `continuum`, `naive`
and `cartridge` were searched on these five days too (8 trials, seeds 5 and 6; `python
agents/tuning/tune.py --recorded agents/tuning/trials-clinc150.jsonl --slowest 100 --agents
inca,ewc,replay,continuum,naive,cartridge`): rows `LABEL-clinc150`. `ewc` and `replay` gain by it;
others do not. `sparse-memory` as Almanac's search chose it adds more parameters a day than the
board allows; `sparse-memory-small` has three layers. {earlier}
""",
    "64 days": """Settings are those of the suite `horizons`: for `sleep` leaner nights than its
defaults, chosen on seeds 5 and 6; answers of `naive` end after 8 tokens, as long as any gold one.
What is left by age: [Almanac](tasks/almanac.md#64-and-256-days).
""",
    "256 days": """`sleep-lean` is `sleep` as on 64 days, in four passes over its dreams, not
five; "against `sleep`" is against it. What is left by age, and of what was known before day 1:
[Almanac](tasks/almanac.md#64-and-256-days).
""",
}
EARLIER = {"CLINC150, five days": "class-incremental-5"}  # boards of version 0
COLUMNS = 2  # of the figure
UNTUNED = "-untuned"  # ends the label of an agent that ran with its defaults
HEAD = (
    "agent | final accuracy | against `sleep` | evening | morning | BWT | base kept "
    "| against `naive` | s a night | GFLOP a night | GFLOP awake | state, kB | date"
)
INTRO = """# Results

Written by `python docs/tools/results.py` from the submissions under `leaderboards/submissions`,
which anyone can verify again (`sleepgym verify`). Seeds 100-104, the embedded model where a title
names no other. Settings are those of one search on seeds below 100, the same number of trials for
every agent: on Almanac, or where it has nothing for an agent, on Codebook (`grpo`, `ttt`,
`nearest`) and on invented classes (`inca`). They are the trial of the highest final accuracy
([tuned.toml](../agents/sleepgym_agents/tuned.toml)); older rows of Codebook are of the trial of the
highest sum of final accuracy and base retention. "date" is the day a submission was packed.
{missing}Seconds are of the machine that ran an agent, core or GPU: compare operations.
Brackets are 95 % intervals over streams (percentile bootstrap; five streams cover about 84 %);
"against" is the mean difference over the same streams. What the columns mean:
[metrics](reference/metrics.md); what each agent is: [reference](reference/README.md). `joint`
keeps everything, outside any budget; `ttt` trains when it is asked, so that its operations are
those awake (of a whole stream, exams included). The figure counts all nights and all days.

![Final accuracy against the operations of a whole stream](images/results.png)
"""


class Row(NamedTuple):
    """A verified submission: the day it was packed, and its numbers."""

    date: str
    results: Results


Agents = dict[str, Row]


def results() -> dict[str, Agents]:
    """Track -> agent -> its verified submission, the best first."""
    entries = [entry for entry in load_entries(SUBMISSIONS) if entry.verified]
    return {title: _ranked(entries, boards) for title, boards in BOARDS.items()}


def _ranked(entries: Sequence[Entry], boards: Sequence[str]) -> Agents:
    found: Agents = {}
    for entry in (e for board in boards for e in entries if e.board == board):
        verdict = entry.verdict
        if verdict and verdict.header and verdict.results:
            found.setdefault(entry.slug, Row(verdict.header.date, verdict.results))
    order = sorted(found, key=lambda slug: -_final(found[slug]))
    return {slug: found[slug] for slug in order}


def _final(shown: Row) -> float:
    return shown.results.mean["average_accuracy"] or 0.0


def page(tracks: dict[str, Agents]) -> str:
    """The page, as Markdown."""
    entries = [entry for entry in load_entries(SUBMISSIONS) if entry.verified]
    lines = [INTRO.replace("{missing}", _missing(tracks))]
    for title, agents in tracks.items():
        board = load_board(BOARDS[title][0])
        lines += [f"## {title}", "", f"Board `{board.name}`: {board.summary}.", ""]
        if title in NOTES:
            lines.append(NOTES[title].replace("{earlier}", _earlier(title, agents, entries)))
        lines += [f"| {HEAD} |", "|" + "---|" * HEAD.count("|") + "---|"]
        lines += [f"| {' | '.join(_row(slug, agents))} |" for slug in agents]
        lines.append("")
    return "\n".join([*lines, *model_lines(entries)])


def readme(text: str, tracks: dict[str, Agents]) -> str:
    """The README with today's table of a few agents on Almanac, the best first."""
    agents = tracks["Almanac"]
    lines = [
        "| agent | keeps | evening | next morning | after 8 days | known before |",
        "|---|---|---|---|---|---|",
    ]
    for slug in (slug for slug in agents if slug in SHOWN):
        shares = [_rounded(agents[slug].results.mean[name]) for name in SHOWN_METRICS]
        lines.append(f"| `{slug}` | {SHOWN[slug]} | {' | '.join(shares)} |")
    table = "\n".join([BEGIN, *lines, END])
    return re.sub(f"{BEGIN}.*?{END}", lambda _: table, text, flags=re.DOTALL)


def _earlier(title: str, agents: Agents, entries: Sequence[Entry]) -> str:
    """A sentence on the agents of a track that have a row on its board of version 0 alone."""
    board = EARLIER.get(title, "")
    rows = _ranked(entries, [board])
    alone = [f"`{slug}` {_final(rows[slug]):.3f}" for slug in rows if slug not in agents]
    if not alone:
        return ""
    return (
        f"Older rows, on board `{board}` of version 0 alone (a question offers the\n"
        f"classes so far, by their names, so that exams give away more): {', '.join(alone)}."
    )


def _missing(tracks: dict[str, Agents]) -> str:
    """A sentence on the agents of the suite that have no row on version 1 of Almanac."""
    runs = load_suite("baselines").runs(Path())
    labels = {spec.label for spec, path in runs if path.parts[0] == "almanac"}
    missing = [f"`{label}`" for label in sorted(labels - tracks["Almanac"].keys())]
    if not missing:
        return ""
    return (
        f"Not run on version 1 of Almanac: {', '.join(missing)} (some are on the boards of version "
        "0, `almanac-8` and `open`).\n"
    )


def figure(tracks: dict[str, Agents]) -> bytes:
    """Final accuracy against the operations of a stream, a panel a track, as a PNG."""
    drawn = {title: agents for title, agents in tracks.items() if agents and title in TRACKS}
    rows = -(-len(drawn) // COLUMNS)
    made = Figure(figsize=(6.5 * COLUMNS, 5.2 * rows), layout="constrained")
    panels = made.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes, (title, agents) in zip(panels, drawn.items(), strict=False):
        nights = load_board(TRACKS[title][0]).environment.settings["days"]
        points = {
            slug: (_stream_gflop(shown.results.mean, nights), _final(shown))
            for slug, shown in agents.items()
        }
        for index, point in enumerate(points.values()):
            axes.plot(*point, **drawing.style(index) | {"linestyle": ""})
        draw_frontier(axes, list(points.values()))
        axes.set_xscale("symlog", linthresh=100.0)
        axes.set(ylim=(-0.03, 1.03), xlabel="GFLOP a stream", ylabel="final accuracy", title=title)
        drawing.names(axes, points, list(points))
        drawing.plain(axes)
    return to_png(made)


def _stream_gflop(mean: Mapping[str, float | None], nights: int) -> float:
    return ((mean["night_flops"] or 0.0) * nights + (mean["awake_flops"] or 0.0)) / 1e9


def _row(slug: str, agents: Agents) -> Sequence[str]:
    date, own = agents[slug]
    mean = own.mean
    naive = "naive-untuned" if slug.endswith(UNTUNED) else "naive"
    sleep = "sleep" if "sleep" in agents else "sleep-lean"
    return [
        f"`{slug}`",
        f"{_share(mean['average_accuracy'])} {_ends(own.interval['average_accuracy'])}",
        _against(slug, sleep, "average_accuracy", agents),
        _share(mean["evening_accuracy"]),
        _share(mean["morning_accuracy"]),
        _share(mean["backward_transfer"]),
        _share(mean["base_retention"]),
        _against(slug, naive, "base_retention", agents),
        f"{mean['night_seconds']:.1f}",
        f"{(mean['night_flops'] or 0.0) / 1e9:,.0f}",
        f"{(mean['awake_flops'] or 0.0) / 1e9:,.0f}",
        f"{(mean['state_bytes'] or 0.0) / 1e3:,.0f}",
        date,
    ]


def _against(slug: str, other: str, metric: str, agents: Agents) -> str:
    if other not in agents or slug == other:
        return ""
    sides = [
        {s.seed: s.metrics[metric] for s in agents[name].results.seeds} for name in (slug, other)
    ]
    values = [{k: v for k, v in side.items() if v is not None} for side in sides]
    if not all(values) or values[0].keys() != values[1].keys():
        return ""
    found = paired_difference(*values)
    ends = found.interval and (found.interval.low, found.interval.high)
    return f"{found.mean:+.3f} {_ends(ends)}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _ends(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}]"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = results()
    PAGE.write_text(page(found))
    FIGURE.write_bytes(figure(found))
    README.write_text(readme(README.read_text(), found))
    print(PAGE, FIGURE, README, sep="\n")

"""Two agents beside each other, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sleepgym.core.errors import BadRun, unknown_name
from sleepgym.core.html import html_table
from sleepgym.runs.records import RunRecord
from sleepgym.scoring.comparisons import (
    compare,
    find_stateless,
    read_finished,
    seed_ranges,
    stream_name,
)
from sleepgym.scoring.glossary import clip_difference, heading
from sleepgym.scoring.scores import score_run
from sleepgym.scoring.statistics import Difference, paired_difference


@dataclass(frozen=True)
class Pair:
    """What two agents scored on the streams that both ran.

    Attributes:
        first: Label of the one.
        second: Label of the other.
        seeds: Seeds that both ran, ascending.
        rows: Metric -> (mean of the first, mean of the second, difference), over the seeds on
            which both define it.
    """

    first: str
    second: str
    seeds: list[int]
    rows: dict[str, tuple[float, float, Difference]]

    def _repr_html_(self) -> str:
        """A row a metric, in a notebook."""
        rows = []
        for metric, (a, b, found) in self.rows.items():
            ends = found.interval and clip_difference(
                metric, (found.interval.low, found.interval.high)
            )
            shown = f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else None
            rows.append((heading(metric), a, b, found.mean, shown, found.n))
        caption = f"A = {self.first}, B = {self.second}, seeds {seed_ranges(self.seeds)}"
        names = ("metric", "A", "B", "A - B", "95% interval", "seeds")
        return html_table(caption, names, rows)


def compare_pair(first: str | Path, second: str | Path) -> Pair:
    """Pair the runs of two folders by their streams.

    Args:
        first: Runs of one configuration: a run directory, or a folder that holds some.
        second: Runs of another on the same environment.

    Raises:
        BadRun: If a folder holds several configurations, or the two share no stream.
    """
    sides = [_only_configuration(Path(path)) for path in (first, second)]
    labels = [label for label, _ in sides]
    if labels[0] == labels[1]:
        labels = [f"{label} ({path})" for label, path in zip(labels, (first, second), strict=True)]
    pair = _paired(labels, [records for _, records in sides])
    if pair is None:
        raise BadRun(
            f"{first} and {second} share no stream: run both on the same environment and seeds"
        )
    return pair


def compare_agents(folder: str | Path, first: str, second: str) -> dict[str, Pair]:
    """Pair two agents of a suite's folder on every environment that both have run.

    Args:
        folder: Holds the runs of several agents, on one environment or more.
        first: Label of the one, as ``sleepgym score`` prints it.
        second: Label of the other.

    Returns:
        Environment and the settings that are not its defaults -> the pair.

    Raises:
        UnknownName: If no runs bear a label.
        BadRun: If the two share no stream.
    """
    comparisons = compare(read_finished(folder))
    labels = {c.label for comparison in comparisons for c in comparison.configurations}
    for label in (first, second):
        if label not in labels:
            raise unknown_name(f"agent of {folder}", label, labels)
    pairs = {}
    for comparison in comparisons:
        found = {c.label: c.records for c in comparison.configurations}
        if first in found and second in found:
            pair = _paired([first, second], [found[first], found[second]], comparison.records)
            title = comparison.environment["env"]
            title += f" ({comparison.changed})" if comparison.changed else ""
            if pair is not None:
                pairs[title] = pair
    if not pairs:
        raise BadRun(f"{first} and {second} share no stream in {folder}: compare other agents")
    return pairs


def _paired(
    labels: Sequence[str],
    sides: Sequence[Sequence[RunRecord]],
    among: Sequence[RunRecord] = (),
) -> Pair | None:
    """The pair of two configurations; None where they share no stream."""
    runs = [{_exams_of(record): record for record in records} for records in sides]
    shared = sorted(
        runs[0].keys() & runs[1].keys(), key=lambda name: runs[0][name].meta["spec"]["seed"]
    )
    if not shared:
        return None
    among = among or [record for records in sides for record in records]
    scores = [
        {name: score_run(side[name], find_stateless(side[name], among)) for name in shared}
        for side in runs
    ]
    rows = {}
    for metric in dict.fromkeys(metric for run in scores[0].values() for metric in run):
        a, b = (
            {s: value for s in shared if (value := side[s].get(metric)) is not None}
            for side in scores
        )
        both = [stream for stream in shared if stream in a and stream in b]
        if both:
            difference = paired_difference({s: a[s] for s in both}, {s: b[s] for s in both})
            means = [sum(side[s] for s in both) / len(both) for side in (a, b)]
            rows[metric] = (*means, difference)
    seeds = [runs[0][name].meta["spec"]["seed"] for name in shared]
    return Pair(labels[0], labels[1], seeds, rows)


def _exams_of(record: RunRecord) -> str:
    """What two runs share that were asked the same questions about the same stream."""
    return f"{stream_name(record)}, {record.meta['spec']['exams']} exams"


def _only_configuration(path: Path) -> tuple[str, tuple[RunRecord, ...]]:
    found = [c for comparison in compare(read_finished(path)) for c in comparison.configurations]
    if len(found) > 1:
        folders = sorted({str(c.records[0].path.parent) for c in found})
        raise BadRun(
            f"{path} holds {len(found)} configurations: give the folder of one, such as "
            f"{' or '.join(folders[:3])}"
        )
    return found[0].label, found[0].records

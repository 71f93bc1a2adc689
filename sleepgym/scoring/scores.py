"""The metrics of runs, from their records alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sleepgym.core.budget import Meter
from sleepgym.core.errors import BadRun
from sleepgym.runs.records import RunRecord
from sleepgym.runs.state import KINDS
from sleepgym.scoring import metrics, statistics
from sleepgym.scoring.comparisons import find_stateless, unfinished

Scores = dict[str, float | None]
Line = dict[str, Any]

_COUNTS = ("seconds", *Meter.FIELDS)
_MEASURED = ("processor_seconds", "gpu_seconds", "setup_seconds")  # since schema 4


def accuracy_matrix(record: RunRecord) -> metrics.Matrix:
    """Mean score by night and day, shape ``(T + 1, T + 1)``: see :mod:`sleepgym.scoring.metrics`.

    Rows are mornings; column 0 is base knowledge. Only questions of the last morning count, in
    every row: a fact that was updated on the way is not asked any more, and rows of different
    questions could not be compared.
    """
    size = record.meta["days"] + 1
    total, count = np.zeros((size, size)), np.zeros((size, size))
    lasting = {line["id"] for line in _morning(record, record.meta["days"])}
    for line in record.answers:
        if line["phase"] == "morning" and line["id"] in lasting:
            total[line["night"], line["item_day"]] += line["score"]
            count[line["night"], line["item_day"]] += 1
    return np.divide(total, count, out=np.full((size, size), np.nan), where=count > 0)


def score_run(record: RunRecord, stateless: RunRecord | None = None) -> Scores:
    """Every metric of one finished run by its full name; None where the stream defines none.

    Args:
        record: The run.
        stateless: A finished run of the ``frozen`` agent with the same model on the same stream,
            to measure ``gain`` against; without it the run's own exam at birth serves, where it
            asked the same questions with the same choices.

    Raises:
        BadRun: If the run has not finished or lacks a field, or ``stateless`` is of another stream.
    """
    require_finished(record)
    if stateless is not None:
        require_finished(stateless)
        if stateless.meta["stream_hash"] != record.meta["stream_hash"]:
            raise BadRun(f"{stateless.path} is of another stream than {record.path}: no gain")
    try:
        return {
            **_learning(record, stateless),
            **_by_kind(_morning(record, record.meta["days"])),
            **_cost(record),
        }
    except KeyError as error:
        raise BadRun(f"{record.path}: a line of its records lacks {error}") from error


def score_group(records: Sequence[RunRecord], among: Sequence[RunRecord] = ()) -> dict[str, Any]:
    """The scores of one configuration.

    Args:
        records: Finished runs that differ in their seed alone; at least one.
        among: Runs among which the stateless agent's are looked for.

    Returns:
        Of one run its metrics; of several ``runs`` (path -> metrics) and :func:`aggregate`.
    """
    scores = [score_run(record, find_stateless(record, among)) for record in records]
    if len(scores) == 1:
        return {**scores[0]}
    paths = [str(record.path) for record in records]
    return {"runs": dict(zip(paths, scores, strict=True)), **aggregate(scores)}


def aggregate(scores: Sequence[Scores]) -> dict[str, dict[str, Any]]:
    """Aggregates over runs that differ in their seed alone.

    Returns:
        ``mean``, ``iqm``, ``interval`` (``[low, high]``, 95% over streams:
        :func:`sleepgym.scoring.statistics.bootstrap_interval`; None for one run) and ``n``, each
        metric -> value. Runs in which a metric is undefined are left out of it; ``n`` counts the
        others.
    """
    group: dict[str, dict[str, Any]] = {"mean": {}, "iqm": {}, "interval": {}, "n": {}}
    for name in dict.fromkeys(name for run in scores for name in run):
        values = [value for run in scores if (value := run.get(name)) is not None]
        interval = statistics.bootstrap_interval(values) if values else None
        group["mean"][name] = float(np.mean(values)) if values else None
        group["iqm"][name] = statistics.interquartile_mean(values) if values else None
        group["interval"][name] = [interval.low, interval.high] if interval else None
        group["n"][name] = len(values)
    return group


def require_finished(record: RunRecord) -> None:
    """Refuse a run whose stream has not ended: its numbers would read as final ones.

    Raises:
        BadRun: If phases are missing.
    """
    if not record.finished:
        raise BadRun(unfinished(record))


def _learning(record: RunRecord, stateless: RunRecord | None) -> Scores:
    a = accuracy_matrix(record)
    evening, morning = _before_and_after_the_night(record)
    practice = [line["score"] for line in record.answers if line["phase"] == "practice"]
    return {
        "average_accuracy": metrics.average_accuracy(a),
        "anytime_accuracy": metrics.anytime_accuracy(a),
        "learning_accuracy": metrics.learning_accuracy(a),
        "backward_transfer": metrics.backward_transfer(a),
        "forward_transfer": metrics.forward_transfer(a),
        "forgetting_first_last": metrics.forgetting_first_last(a),
        "forgetting_max": metrics.forgetting_max(a),
        "retention": metrics.retention(a),
        "half_life": metrics.half_life(metrics.retention_curve(a)),
        "evening_accuracy": evening,
        "morning_accuracy": morning,
        "consolidation": metrics.consolidation(evening, morning),
        "base_retention": metrics.base_retention(a),
        "gain": metrics.gain(metrics.average_accuracy(a), _stateless_accuracy(record, stateless)),
        "practice_accuracy": float(np.mean(practice)) if practice else None,
    }


def _morning(record: RunRecord, night: int) -> list[Line]:
    return [a for a in record.answers if a["phase"] == "morning" and a["night"] == night]


def _before_and_after_the_night(record: RunRecord) -> tuple[float | None, float | None]:
    """Mean over days of the evening's and the next morning's score on the same questions."""
    after = {
        _shown(line): line
        for line in record.answers
        if line["phase"] == "morning" and line["night"] == line["item_day"]
    }
    asked = [
        line for line in record.answers if line["phase"] == "evening" and _shown(line) in after
    ]
    return _mean_over_days(asked), _mean_over_days(after[_shown(line)] for line in asked)


def _stateless_accuracy(record: RunRecord, stateless: RunRecord | None) -> float | None:
    """Accuracy without memory on the very questions of the last morning; None if they differ."""
    last = record.meta["days"]
    other = _morning(record, 0) if stateless is None else _morning(stateless, last)
    partner = {_shown(line): line for line in other}
    final = [line for line in _morning(record, last) if line["item_day"] > 0]
    if any(_shown(line) not in partner for line in final):
        return None
    return _mean_over_days(partner[_shown(line)] for line in final)


def _shown(line: Line) -> tuple[str, str]:
    """The question as the agent saw it: the item, and its text and choices."""
    return line["id"], line["prompt"]


def _mean_over_days(lines: Iterable[Line]) -> float | None:
    days = defaultdict(list)
    for line in lines:
        days[line["item_day"]].append(line["score"])
    return float(np.mean([np.mean(scores) for scores in days.values()])) if days else None


def _by_kind(final: list[Line]) -> Scores:
    kinds, taught = defaultdict(list), set()
    for line in final:
        kind = line["kind"].replace("-", "_")
        kinds[kind].append(line["score"])
        if line["item_day"] > 0:
            taught.add(kind)
    mean = {kind: float(np.mean(kinds[kind])) for kind in sorted(kinds)}
    scores: Scores = {f"accuracy_{kind}": value for kind, value in mean.items()}
    if "direct" in taught:
        others = sorted(taught - {"direct"})
        scores |= {f"gap_{kind}": mean["direct"] - mean[kind] for kind in others}
    return scores


def _cost(record: RunRecord) -> Scores:
    nights = record.nights
    awake = [line for line in record.phases if line["phase"] != "sleep"]
    return {
        "missing_answers": float(sum(line["missing"] for line in record.phases)),
        "within_budget": float(not any(night["exceeded"] for night in nights)),
        **{f"night_{n}": float(np.mean([night[n] for night in nights])) for n in _COUNTS},
        **{f"awake_{n}": float(sum(line[n] for line in awake)) for n in _COUNTS},
        **_measured(nights, awake),
        "added_parameters": float(nights[-1]["added_parameters"]),
        "state_bytes": float(nights[-1]["state_bytes"]),
        **{f"state_{kind}_bytes": _known(nights[-1].get(f"state_{kind}_bytes")) for kind in KINDS},
    }


def _measured(nights: list[Line], awake: list[Line]) -> Scores:
    """What was measured from outside; nothing where a record is older, or nobody could tell."""
    scores: Scores = {}
    for name in _MEASURED:
        asleep = [value for night in nights if (value := night.get(name)) is not None]
        waking = [value for line in awake if (value := line.get(name)) is not None]
        if len(asleep) == len(nights) and len(waking) == len(awake):
            scores[f"night_{name}"] = float(np.mean(asleep))
            scores[f"awake_{name}"] = float(sum(waking))
    return scores


def _known(value: float | None) -> float | None:
    """A number; None in records older than state by kind."""
    return None if value is None else float(value)

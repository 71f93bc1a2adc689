"""The line of a night in ``nights.jsonl``: what it cost, what was kept, and whether it was paid.

Seconds are measured by the runner, sizes are read off the files, tokens and operations are
declared by the agent's meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sleepgym.core.budget import Budget, Meter
from sleepgym.runs.state import float_parameters, sizes_by_kind

Line = Mapping[str, Any]
_TOLD = ("study", "practice")


def whole_night(asleep: Line, setup: Line, saving: Line) -> dict[str, Any]:
    """What the night's instance cost from when it was made until it was dropped.

    Args:
        asleep: Cost of the phase, as :class:`sleepgym.runs.day.Outcome` has it.
        setup: What the meter counted before it.
        saving: What saving cost.
    """
    cost = {**asleep, "saving_seconds": saving["seconds"]}
    for name in ("processor_seconds", "gpu_seconds"):
        parts = (asleep[name], saving[name])
        cost[name] = None if None in parts else round(sum(parts), 4)
    return cost | {f"setup_{name}": setup[name] + saving[name] for name in Meter.FIELDS}


def total(cost: Line) -> float:
    """All that the meter counted in a :func:`whole_night`."""
    return sum(cost[name] + cost[f"setup_{name}"] for name in Meter.FIELDS)


def night_line(
    night: int, cost: Line, kept: Line, budget: Budget, log: Mapping[str, float | None]
) -> dict[str, Any]:
    """A line of ``nights.jsonl``.

    Args:
        night: Its number, from 1.
        cost: As :func:`whole_night` has it. Of ``sleep``: ``seconds`` and the counters of the
            meter. Of what the instance did beside it (it was made, loaded, was told the day,
            saved): ``setup_seconds``, ``saving_seconds``, and ``setup_`` with the counters' names.
            Of all of it: ``processor_seconds`` and ``gpu_seconds``.
        kept: What :func:`kept_after` says, and ``state_digest``.
        budget: Of a night.
        log: What ``sleep`` returned.

    Returns:
        All of it, and ``exceeded``: the names of the limits that were broken. What is saved depends
        on nothing but the state before and what the night's instance did, so a budget covers
        all of that: being told the day, sleeping and saving.
    """
    spent = {f"night_{name}": cost[name] + cost[f"setup_{name}"] for name in Meter.FIELDS}
    spent["night_seconds"] = cost["seconds"] + cost["setup_seconds"] + cost["saving_seconds"]
    exceeded = budget.exceeded_by({**spent, **kept})
    return {"night": night, **cost, **kept, "exceeded": exceeded, "log": log}


def kept_after(state: Path, declared: int) -> dict[str, int]:
    """What a state in canonical form holds, by the names of a line of ``nights.jsonl``.

    Args:
        state: Its folder.
        declared: Parameters that the agent says it added.

    Returns:
        ``added_parameters``: the larger of what was declared and the floating-point numbers in the
        state; ``declared_parameters``; ``state_bytes``, and by kind ``state_<kind>_bytes``.
    """
    kinds = sizes_by_kind(state)
    return {
        "added_parameters": max(declared, float_parameters(state)),
        "declared_parameters": declared,
        "state_bytes": sum(kinds.values()),
        **{f"state_{kind}_bytes": size for kind, size in kinds.items()},
    }


def spent_on(night: int, phases: Iterable[Line]) -> float:
    """What the meter counted while a day was told, by the lines of ``phases.jsonl``."""
    told = [line for line in phases if line["day"] == night and line["phase"] in _TOLD]
    return sum(line[name] for line in told for name in Meter.FIELDS)


def unpaid(numbers_bytes: int, changed: bool, spent: float) -> str | None:
    """What is wrong with numbers that changed while the meter counted nothing; None if nothing is.

    Args:
        numbers_bytes: Of floating-point tensors in the state.
        changed: Whether they changed in this night.
        spent: All that the meter counted while this day was told and slept through.
    """
    if not (numbers_bytes and changed) or spent:
        return None
    return (
        f"{numbers_bytes} bytes of numbers in the state changed, and the meter counted nothing: "
        "charge what was read, sampled and trained"
    )


def unpaid_nights(phases: Sequence[Line], nights: Sequence[Line]) -> list[str]:
    """The nights of a record whose numbers changed for nothing, in words.

    From a record alone nobody can tell which bytes of a state changed: a state that holds numbers
    counts as changed where its digest did, and after the first night.

    Args:
        phases: Lines of ``phases.jsonl``.
        nights: Lines of ``nights.jsonl``.
    """
    found, before = [], ""
    for line in nights:
        numbers_bytes = line["state_weights_bytes"] + line["state_keys_bytes"]
        asleep = sum(line[name] for name in Meter.FIELDS)
        spent = asleep + spent_on(line["night"], phases)
        problem = unpaid(numbers_bytes, line["state_digest"] != before, spent)
        found += [f"night {line['night']}: {problem}"] if problem else []
        before = line["state_digest"]
    return found

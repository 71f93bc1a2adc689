"""Trains what an agent needs beside a base model: by the agent's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines.long_context import duo_attention, recurrent_memory
from sleepgym_agents.baselines.long_context.trained_parts import cached_file, part_file
from sleepgym_agents.outer_loops.head_training import HeadCourse, HeadTraining, train_heads
from sleepgym_agents.outer_loops.lessons import Progress, TrainingStreams
from sleepgym_agents.outer_loops.memory_training import (
    MemoryCourse,
    MemoryTraining,
    train_memory,
)

TRAININGS: Mapping[str, type] = {
    duo_attention.AGENT: HeadTraining,
    recurrent_memory.AGENT: MemoryTraining,
}


def training_settings(agent: str) -> type:
    """The settings of an agent's training.

    Raises:
        BadSetting: If it needs none.
    """
    if agent not in TRAININGS:
        raise BadSetting(
            f"agent {agent!r} needs nothing that is trained beforehand; these do: "
            + ", ".join(TRAININGS)
        )
    return TRAININGS[agent]


def prepare(
    agent: str,
    model: str,
    streams: TrainingStreams,
    settings: Any,
    progress: Progress | None = None,
) -> tuple[Path, Path, Sequence[Mapping[str, float]]]:
    """Train the part of an agent for a base model.

    Args:
        agent: Its registered name.
        model: The base model.
        streams: What it is trained on.
        settings: Of the class that :func:`training_settings` names.
        progress: Called with (done, in all, what).

    Returns:
        The file; the file that the agent will read, which is another one where a part is
        shipped; and what was measured.
    """
    if training_settings(agent) is HeadTraining:
        part, log = train_heads(HeadCourse(model, streams, settings), progress)
        rows: Sequence[Mapping[str, float]] = [log]
    else:
        part, rows = train_memory(MemoryCourse(model, streams, settings), progress)
    base = part.card["base"]
    return cached_file(agent, base), part_file(agent, base), rows

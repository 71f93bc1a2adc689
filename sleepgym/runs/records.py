"""A run on disk: what was asked, answered and scored, and what each night did and cost.

A run directory holds

- ``run.json``: schema version, specification, stream hash, digest of the base model's files,
  platform and package versions;
- ``answers.jsonl``: a line a question asked;
- ``nights.jsonl``: a line a night: its cost and what the agent logged;
- ``phases.jsonl``: the journal: a line a finished phase. A phase without a line did not happen;
- ``state/night-NNNNN/``: what the agent remembered after its last night.

Everything that is reported is computed from the first four files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.errors import BadRun, UnknownName
from sleepgym.core.schedule import Step
from sleepgym.core.settings import completed_settings, upgrade_settings
from sleepgym.core.types import question_hash

SCHEMA = 3
# 1: settings may have names of before 0.2; 1 and 2: `audit` in the place of `isolation`, no salt,
# names in a state do not count.
READABLE = (1, 2, 3)
_AUDITS = {"instance": "in-process", "process": "process"}
TIMES = ("seconds",)  # the fields that may differ between two runs of the same specification


@dataclass(frozen=True)
class RunRecord:
    """A run as read back from its directory.

    Attributes:
        path: The directory.
        meta: ``run.json``.
        answers: Lines of ``answers.jsonl``: step, phase (practice, evening, morning), day and
            night on which it was asked, id, item_day, kind, prompt (hash), answer, score.
        nights: Lines of ``nights.jsonl``: night, seconds, read_tokens, generated_tokens,
            train_tokens, flops, added_parameters, state_bytes and what it is made of
            (state_weights_bytes, state_keys_bytes, state_text_bytes), state_digest, exceeded, log.
        phases: Lines of ``phases.jsonl``: step, phase, day, night, questions, missing, score,
            seconds, read_tokens, generated_tokens, train_tokens, flops, answers_bytes.
    """

    path: Path
    meta: dict[str, Any]
    answers: list[dict[str, Any]]
    nights: list[dict[str, Any]]
    phases: list[dict[str, Any]]

    @property
    def state(self) -> Path:
        """The folder of what the agent remembered after its last finished night."""
        return state_folder(self.path, len(self.nights))

    @property
    def finished(self) -> bool:
        """Whether every phase of the stream has happened."""
        return len(self.phases) == self.meta["steps"]


def state_folder(path: Path, night: int) -> Path:
    """Where a run directory keeps the state after a night."""
    return path / "state" / f"night-{night:05d}"


def read_meta(path: Path) -> dict[str, Any]:
    """The checked ``run.json`` of a run directory.

    Raises:
        BadRun: If there is none, or it cannot be read, or its schema is another.
    """
    file = path / "run.json"
    if not file.is_file():
        raise BadRun(f"{path} is not a run directory: it holds no run.json")
    try:
        meta = json.loads(file.read_text())
        schema = meta["schema"]
        if not isinstance(meta["spec"], dict) and schema in READABLE:
            raise TypeError("spec is no object")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BadRun(f"{file} cannot be read: {error!r}") from error
    if schema not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise BadRun(f"{file} has schema {schema!r:.20}; this version reads schemas {known}")
    if schema < 3:
        meta["spec"]["isolation"] = isolation_of(meta["spec"].pop("audit", "instance"))
    if schema == 1:
        meta["spec"] = upgrade_spec(meta["spec"])
    return meta


def isolation_of(audit: str) -> str:
    """The level of isolation that an ``audit`` of before 0.2 stands for; ``off`` stands for none.

    A run with its audit off can be read; it cannot go on.
    """
    return _AUDITS.get(audit, audit)


def upgrade_spec(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The ``spec`` of a ``run.json`` with the names that its settings have today."""
    try:
        family = registry.family_class(saved["env"]).Config
        agent = registry.agent_class(saved["agent"]).Config
    except UnknownName:  # of a package that is not installed here
        return dict(saved)
    return {
        **saved,
        "env_settings": completed_settings(family, saved["env_settings"]),
        "agent_settings": upgrade_settings(agent, saved["agent_settings"]),
    }


def read_run(path: str | Path) -> RunRecord:
    """Read a run directory, finished or not.

    Raises:
        BadRun: If a file is missing or malformed; names the file and the line.
    """
    path = Path(path)
    meta = read_meta(path)
    phases = read_lines(path / "phases.jsonl")
    answers = read_lines(path / "answers.jsonl")
    nights = read_lines(path / "nights.jsonl")
    asked = sum(line["questions"] for line in phases)
    if len(answers) < asked:
        raise BadRun(f"{path / 'answers.jsonl'} holds {len(answers)} answers of {asked}")
    slept = sum(line["phase"] == "sleep" for line in phases)
    return RunRecord(path, meta, answers[:asked], nights[:slept], phases)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a torn last line (a crash) is left out; no file, no lines.

    Raises:
        BadRun: If another line is malformed.
    """
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadRun(f"{file}, line {number}: {error}") from error
    return rows


def answer_lines(index: int, step: Step, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of ``answers.jsonl`` of a phase that asked.

    Args:
        index: Number of the phase in the stream.
        step: The phase.
        info: What the environment said of the answers; empty where nothing was asked.
    """
    return [
        {
            "step": index,
            "phase": step.name,
            "day": step.day,
            "night": step.night,
            "id": item.id,
            "item_day": item.day,
            "kind": item.kind,
            "prompt": question_hash(question),
            "answer": answer,
            "score": float(score),
        }
        for item, question, answer, score in zip(
            step.items,
            step.questions,
            info.get("answers", ()),
            info.get("scores", ()),
            strict=True,
        )
    ]

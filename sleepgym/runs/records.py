"""A run on disk: what was asked, answered and scored, and what each night did and cost.

A run directory holds

- ``run.json``: schema version, specification, stream hash, digest of the base model's files,
  platform and package versions;
- ``answers.jsonl``: a line a question asked;
- ``nights.jsonl``: a line a night: its cost and what the agent logged;
- ``phases.jsonl``: the journal: a line a finished phase. A phase without a line did not happen;
- ``state/night-NNNNN/``: what the agent remembered after its last night.

Everything that is reported is computed from the first four files. Their lines are chained
(:mod:`sleepgym.runs.lines`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.errors import BadRun, UnknownName
from sleepgym.core.html import html_table
from sleepgym.core.schedule import Step
from sleepgym.core.settings import completed_settings
from sleepgym.core.types import question_hash
from sleepgym.runs.lines import follow_chain, read_lines

SCHEMA = 4
# 1: settings may have names of before 0.2; 1 and 2: `audit` in the place of `isolation`, no salt,
# names in a state do not count; 1 to 3: lines are not chained, only `seconds` is measured.
READABLE = (1, 2, 3, 4)
FILES = ("phases.jsonl", "answers.jsonl", "nights.jsonl")
CHAINED = 4  # the first schema whose lines are chained
_AUDITS = {"instance": "in-process", "process": "process"}
_TEXT, _OBJECT, _COUNT = (str, "text"), (dict, "an object"), (int, "a whole number, 0 or more")
_META = {"spec": _OBJECT, "stream_hash": _TEXT, "days": _COUNT, "steps": _COUNT}
_SPEC: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("env", "exams", "agent"), _TEXT),
    **dict.fromkeys(("env_settings", "budget", "agent_settings"), _OBJECT),
    "seed": _COUNT,
    "model": (str | None, "text or null"),
}
TIMES = ("seconds", "setup_seconds", "saving_seconds", "processor_seconds", "gpu_seconds")
"""The fields that may differ between two runs of the same specification."""


@dataclass(frozen=True)
class RunRecord:
    """A run as read back from its directory.

    Attributes:
        path: The directory.
        meta: ``run.json``.
        answers: Lines of ``answers.jsonl``: step, phase (practice, evening, morning), day and
            night on which it was asked, id, item_day, kind, prompt (hash), answer, score.
        nights: Lines of ``nights.jsonl``: :func:`sleepgym.runs.costs.ledger.night_line` says what
            they hold.
        phases: Lines of ``phases.jsonl``: step, phase, day, night, questions, missing, score,
            seconds, setup_seconds, processor_seconds, gpu_seconds
            (:class:`sleepgym.runs.day.Outcome`), read_tokens, generated_tokens, train_tokens,
            flops.
        altered: Which lines are not as they were written, in words; nothing is known of records
            of before schema 4.
    """

    path: Path
    meta: dict[str, Any]
    answers: list[dict[str, Any]]
    nights: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    altered: tuple[str, ...] = ()

    @property
    def state(self) -> Path:
        """The folder of what the agent remembered after its last finished night."""
        return state_folder(self.path, len(self.nights))

    @property
    def finished(self) -> bool:
        """Whether every phase of the stream has happened."""
        return len(self.phases) == self.meta["steps"]

    def _repr_html_(self) -> str:
        """A row an exam, in a notebook."""
        spec = self.meta["spec"]
        label = self.meta.get("label") or spec["agent"]
        rows = [
            (line["phase"], line["day"], line["night"], line["questions"], line["score"])
            for line in self.phases
            if line["phase"] in ("evening", "morning")
        ]
        done = f"{len(self.phases)} of {self.meta['steps']} phases"
        caption = f"{label} on {spec['env']}, seed {spec['seed']} ({done})"
        return html_table(caption, ("exam", "day", "nights", "questions", "mean score"), rows)


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
        meta = json.loads(file.read_text(encoding="utf-8"))
        schema = meta["schema"]
        if schema in READABLE:
            _check_meta(meta)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadRun(f"{file} cannot be read: {error!r:.300}") from error
    if schema not in READABLE:
        known = ", ".join(map(str, READABLE))
        raise BadRun(f"{file} has schema {schema!r:.20}; this version reads schemas {known}")
    if schema < 3:
        meta["spec"]["isolation"] = isolation_of(meta["spec"].pop("audit", "instance"))
    if schema == 1:
        meta["spec"] = upgrade_spec(meta["spec"])
    return meta


def _check_meta(meta: dict[str, Any]) -> None:
    """Refuse a ``run.json`` whose fields are missing or of another type.

    Raises:
        ValueError: In words.
    """
    for prefix, fields in (("", _META), ("spec.", _SPEC)):
        found = meta["spec"] if prefix else meta
        for name, (kind, rule) in fields.items():
            if name not in found:
                raise ValueError(f"{prefix or 'its '}fields lack {name!r}")
            value = found[name]
            if not isinstance(value, kind) or (isinstance(value, int) and value < 0):
                raise ValueError(f"{prefix}{name}={value!r:.60}: must be {rule}")


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
        "agent_settings": completed_settings(agent, saved["agent_settings"]),
    }


def read_run(path: str | Path) -> RunRecord:
    """Read a run directory, finished or not.

    Raises:
        BadRun: If a file is missing or malformed; names the file and the line.
    """
    path = Path(path)
    meta = read_meta(path)
    phases, answers, nights = (read_lines(path / name) for name in FILES)
    asked = sum(line["questions"] for line in phases)
    slept = sum(line["phase"] == "sleep" for line in phases)
    if len(answers) < asked:
        raise BadRun(f"{path / 'answers.jsonl'} holds {len(answers)} answers of {asked}")
    if len(nights) < slept:
        raise BadRun(f"{path / 'nights.jsonl'} holds {len(nights)} nights of {slept}")
    altered: tuple[str, ...] = ()
    if meta["schema"] >= CHAINED:
        files = [path / name for name in FILES]
        altered = tuple(t for f in files if (t := altered_in_words(f, follow_chain(f)[0])))
    return RunRecord(path, meta, answers[:asked], nights[:slept], phases, altered)


def altered_in_words(file: Path, numbers: Sequence[int]) -> str:
    """That lines of these numbers are not as they were written; empty where there are none."""
    if not numbers:
        return ""
    more = f" (and {len(numbers) - 1} more lines)" if len(numbers) > 1 else ""
    return (
        f"{file}, line {numbers[0]}{more}: it was edited, or a line before it was removed or moved"
    )


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

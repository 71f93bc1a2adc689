"""``samples.jsonl``: what was asked and what was right, for people who read a run.

A line a line of ``answers.jsonl``, joined to it by ``step`` and ``id``: the question, its choices,
the accepted answers (``gold``) and ``context``, a digest of what the agent had been told that day
(null where the context was wiped). Nothing that is computed needs it: it holds the answer key, so
submissions never carry it and ``--no-samples`` (``SLEEPGYM_SAMPLES=0``) leaves it out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sleepgym.core.errors import SleepGymError
from sleepgym.core.schedule import Step, experience_of
from sleepgym.core.types import AnswerKey, Experience, json_array
from sleepgym.runs.records import RunRecord, read_lines
from sleepgym.runs.spec import spec_from_meta

FILE = "samples.jsonl"
_SWITCH = "SLEEPGYM_SAMPLES"

Sample = dict[str, Any]


def keep_samples(kept: bool) -> None:
    """Choose for this process and its workers whether runs write ``samples.jsonl``."""
    os.environ[_SWITCH] = "1" if kept else "0"


class SampleLog:
    """The writing side; does nothing where samples are not kept."""

    def __init__(self, folder: Path, phases: int) -> None:
        """Open the file of a run directory and drop what belongs to phases that did not happen.

        Args:
            folder: The run directory.
            phases: Committed phases.
        """
        self._file = folder / FILE if os.environ.get(_SWITCH, "1") != "0" else None
        if self._file is not None and self._file.exists():
            with open(self._file, "r+b") as handle:
                handle.truncate(_size_of(self._file.read_bytes(), phases))

    def add(self, index: int, step: Step, key: AnswerKey, told: Sequence[Experience]) -> None:
        """Append the samples of a phase; call it before the phase is committed."""
        if self._file is not None and step.items:
            lines = sample_lines(index, step, key, told)
            with open(self._file, "ab") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode("ascii"))


def _size_of(content: bytes, phases: int) -> int:
    """Bytes of the leading lines that belong to the first ``phases`` phases."""
    size = 0
    for line in content.split(b"\n")[:-1]:
        try:
            if json.loads(line)["step"] >= phases:
                break
        except (ValueError, KeyError, TypeError):  # not a line of ours: begin again here
            break
        size += len(line) + 1
    return size


def sample_lines(
    index: int, step: Step, key: AnswerKey, told: Sequence[Experience]
) -> list[Sample]:
    """The lines of ``samples.jsonl`` of a phase that asked.

    Args:
        index: Number of the phase in the stream.
        step: The phase.
        key: The accepted answers.
        told: What this day had taught before.
    """
    context = context_digest(told)
    return [
        {
            "step": index,
            "id": item.id,
            "question": question.text,
            "choices": list(question.choices),
            "gold": list(key[item.id]),
            "context": context,
        }
        for item, question in zip(step.items, step.questions, strict=True)
    ]


def context_digest(told: Sequence[Experience]) -> str | None:
    """16 hex digits of what a day has taught so far; None where it has taught nothing."""
    if not told:
        return None
    digest = hashlib.sha256()
    for part in json_array(map(_experience_json, told)):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def _experience_json(experience: Experience) -> Iterator[str]:
    """The JSON of what was told, in parts: documents that are made on demand are not held."""
    yield '{"documents": '
    yield from json_array([json.dumps(asdict(document))] for document in experience.documents)
    rest = {
        "questions": [asdict(question) for question in experience.questions],
        "answers": experience.answers,
    }
    yield f", {json.dumps(rest)[1:]}"


def read_samples(record: RunRecord, remake: bool = True) -> dict[tuple[int, str], Sample]:
    """The samples of a run by (step, id): from its file, else from its stream made again.

    Args:
        record: The run.
        remake: Whether to make the stream again where there is no file (``--no-samples``).

    Returns:
        Empty where neither is at hand.

    Raises:
        BadRun: If a line is malformed.
    """
    lines = read_lines(record.path / FILE)
    if not lines and remake:
        lines = _made_again(record)
    return {(line["step"], line["id"]): line for line in lines}


def _made_again(record: RunRecord) -> list[Sample]:
    with suppress(SleepGymError, ImportError, KeyError, TypeError, OSError):
        spec = spec_from_meta(record.meta)
        env = spec.make_env()
        env.reset(seed=spec.seed)
        assert env.stream is not None
        if env.stream.content_hash != record.meta["stream_hash"]:
            return []
        lines: list[Sample] = []
        told: list[Experience] = []
        for index, step in enumerate(env.steps):
            lines += sample_lines(index, step, env.stream.key, told)
            if step.documents or step.name == "practice":
                told.append(experience_of(step, env.stream.key))
            if step.name == "sleep":
                told = []
        return lines
    return []

"""From run directories to a submission: what `sleepgym submit` does."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv
from sleepgym.core.errors import BadData, SleepGymError
from sleepgym.runs.records import RunRecord
from sleepgym.runs.state import KINDS
from sleepgym.scoring.comparisons import read_runs, unfinished
from sleepgym.suite.toml_file import read_toml
from sleepgym_boards.board import Board
from sleepgym_boards.submission.schema import (
    SCHEMA,
    MethodCard,
    Run,
    Submission,
    kept_text,
    run_digest,
)
from sleepgym_boards.verification.regrading import rebuild
from sleepgym_boards.verification.verifier import check

Grade = Callable[[str, str], float]

CARD_TEMPLATE = """\
name = ""          # on the board, for example "Seeding, rank 64"
summary = ""       # what it does, in a sentence or two
authors = [""]
code = "https://"  # where its code is
commit = ""        # the commit of that code that made the runs
data = "none"          # data used beyond the streams
pretraining = "none"   # training beyond the base model, before day 1
tuning_seeds = "none"  # seeds on which settings were chosen, for example "0-99"
departures = "none"    # known departures from the method's source
"""


# Stands for a card that is missing, so that everything else that is missing is found at once.
_NO_CARD = MethodCard(
    name="none",
    summary="none",
    authors=["none"],
    code="https://none",
    commit="0000000",
    data="none",
    pretraining="none",
    tuning_seeds="none",
    departures="none",
)


class NotReady(SleepGymError):
    """Runs that cannot be submitted.

    Attributes:
        missing: What is missing or wrong, a line each.
    """

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("; ".join(missing))
        self.missing = list(missing)


def read_card(file: Path | MethodCard | None) -> MethodCard:
    """The method card in a TOML file, or one that is read already.

    Raises:
        NotReady: If there is none, or a field is missing or malformed; a line a field.
    """
    if isinstance(file, MethodCard):
        return file
    if file is None:
        raise NotReady(["no method card: `sleepgym board card > card.toml`, fill it in, --card"])
    try:
        fields = read_toml(file)
    except OSError as error:
        raise NotReady([f"method card {file}: {error.strerror}"]) from error
    except BadData as error:
        raise NotReady([f"method card {file}: {error}"]) from error
    return validate_card(fields, f"method card {file}")


def validate_card(fields: dict[str, Any], where: str) -> MethodCard:
    """A method card from its fields.

    Raises:
        NotReady: If one is missing or malformed; a line a field, which begins with ``where``.
    """
    try:
        return MethodCard.model_validate(fields)
    except ValidationError as error:
        raise NotReady(_lines(error, where)) from error


def pack(
    paths: Sequence[Path],
    board: Board,
    card: Path | MethodCard | None,
    *,
    data: Path | None = None,
    salt: str | None = None,
) -> Submission:
    """A submission of the runs under some folders that keeps every rule of the board.

    Args:
        paths: Run directories, or folders that hold some.
        board: The board.
        card: The method card, or its file.
        data: Folder of original data files.
        salt: The salt of a sealed board.

    Raises:
        NotReady: With all that is missing or wrong.
        SleepGymError: If a path is no folder, or the board's data is not at hand.
    """
    missing, method = [], _NO_CARD
    try:
        method = read_card(card)
    except NotReady as error:
        missing += error.missing
    records, unreadable = read_runs(*paths)
    missing += [f"{folder}: {reason}" for folder, reason in unreadable.items()]
    broken = {record.path: problem for record in records if (problem := _malformed(record))}
    missing += [f"{folder}: {problem}" for folder, problem in broken.items()]
    records = [record for record in records if record.path not in broken]
    missing += [unfinished(record) for record in records if not record.finished]
    missing += [line for record in records for line in record.altered]
    runs = []
    finished = [record for record in records if record.finished]
    for record in sorted(finished, key=lambda r: r.meta["spec"]["seed"]):
        if record.meta["spec"].get("model") and "model_digest" not in record.meta:
            missing.append(
                f"base-model: {record.path}: its record does not say with which weights it began: "
                "it is of an older SleepGym, run again"
            )
            continue
        if record.meta["spec"].get("prompt"):
            missing.append(
                f"prompt: {record.path}: its model was asked by --prompt, whose text a submission "
                "does not hold, so that nobody could run it again: run without"
            )
            continue
        try:
            runs.append(_run(record, board, data))
        except ValidationError as error:
            missing += _lines(error, str(record.path))
        except KeyError as error:
            missing.append(
                f"{record.path}: its records lack {error}: they are of an older SleepGym, run again"
            )
        except (TypeError, ValueError, AttributeError, RuntimeError, StopIteration) as error:
            missing.append(
                f"{record.path}: its records are damaged: {type(error).__name__} {error}"
            )
    if not runs:
        raise NotReady(missing)
    submission = Submission(
        format="sleepgym-submission",
        schema_version=SCHEMA,
        board=board.name,
        board_version=board.version,
        date=datetime.date.today().isoformat(),
        card=method,
        runs=runs,
    )
    found, _ = check(submission, board, data=data, salt=salt)
    missing += [f"{rule}: {line}" for rule, problems in found.items() for line in problems]
    if missing:
        raise NotReady(missing)
    return submission


def _malformed(record: RunRecord) -> str:
    """What keeps a record from being read as one; empty where nothing does."""
    spec = record.meta.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("seed"), int):
        return f"run.json: spec must be an object with a seed, not {spec!r:.60}"
    if not isinstance(record.meta.get("steps"), int):
        return f"run.json: steps must be a number, not {record.meta.get('steps')!r:.60}"
    files = {"phases": record.phases, "answers": record.answers, "nights": record.nights}
    for name, lines in files.items():
        for number, line in enumerate(lines, start=1):
            if not isinstance(line, dict):
                return f"{name}.jsonl, line {number}: must be an object, not {line!r:.60}"
    slept = sum(phase.get("phase") == "sleep" for phase in record.phases)
    if len(record.nights) < slept:
        return f"nights.jsonl holds {len(record.nights)} nights of {slept}: a line is missing"
    return ""


def _run(record: RunRecord, board: Board, data: Path | None) -> Run:
    spec, meta = record.meta["spec"], record.meta
    content = {
        "seed": spec["seed"],
        "stream_hash": meta["stream_hash"],
        "environment": {
            "id": spec["env"],
            "settings": spec["env_settings"],
            "exams": spec["exams"],
        },
        "limits": spec["budget"],
        "method": {
            "agent": spec["agent"],
            "settings": spec["agent_settings"],
            "model": spec["model"],
            "model_digest": meta["model_digest"] if spec["model"] else None,
            "isolation": _isolation(spec["isolation"], meta.get("salt")),
        },
        "salt": meta.get("salt"),
        "platform": meta["platform"],
        "packages": meta["packages"],
        "commit": meta["commit"],
        "phases": _phases(record, board, data),
    }
    run = Run.model_validate(content | {"digest": "0" * 64})
    return run.model_copy(update={"digest": run_digest(run)})


def _isolation(level: str, salt: str | None) -> str:
    """The level of a run; before there were salts, only the morning exam had a process."""
    return "in-process" if level == "process" and salt is None else level


def _phases(record: RunRecord, board: Board, data: Path | None) -> list[dict[str, Any]]:
    lines = iter(record.answers)
    nights = iter(record.nights)
    grade = _grader(board, record.meta["spec"]["seed"], data)
    costs = ("seconds", *Meter.FIELDS, "setup_seconds", "processor_seconds", "gpu_seconds")
    phases = []
    for phase in record.phases:
        answers = [_answer(next(lines), grade) for _ in range(phase["questions"])]
        where = {name: phase[name] for name in ("phase", "day", "night", *costs)}
        kept = _ledger(next(nights)) if phase["phase"] == "sleep" else None
        phases.append({**where, "answers": answers, "ledger": kept})
    return phases


def _grader(board: Board, seed: int, data: Path | None) -> Grade:
    """Grades answers of a stream, which is rebuilt if there is one to grade."""

    @cache
    def env() -> ContinualEnv:
        return rebuild(board, seed, data)

    def grade(item_id: str, text: str) -> float:
        stream = env().stream
        assert stream is not None
        score = env().family.score_item
        return max(score(item_id, text, target) for target in stream.key[item_id])

    return grade


def _ledger(night: dict[str, Any]) -> dict[str, Any]:
    kinds = [f"state_{kind}_bytes" for kind in KINDS]
    names = ("added_parameters", "state_bytes", *kinds, "state_digest", "log")
    names += ("declared_parameters", "saving_seconds", *(f"setup_{n}" for n in Meter.FIELDS))
    return {name: night[name] for name in names}


def _answer(line: dict[str, Any], grade: Grade) -> dict[str, Any]:
    whole, score, digest = line["answer"], line["score"], None
    text = kept_text(whole)
    if text != whole:  # what is kept is what is graded
        score = grade(line["id"], text)
        digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()
    return {
        "id": line["id"],
        "prompt": line["prompt"],
        "text": text,
        "score": score,
        "sha256": digest,
    }


def _lines(error: ValidationError, where: str) -> list[str]:
    return [
        f"{where}: {'.'.join(map(str, found['loc']))}: {found['msg']}"
        for found in error.errors(include_url=False, include_context=False)
    ]

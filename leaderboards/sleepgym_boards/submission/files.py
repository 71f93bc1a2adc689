"""Submission files: JSON in gzip or xz, read as if every byte was meant to harm.

Nothing is unpacked to disk, nothing is executed, no name in a file is used as a path. What is read
is limited before it is read, compressed and decompressed, and parsed a phase at a time
(:mod:`sleepgym_boards.submission.pieces`). Nesting cannot go deep: every value is parsed as a type
of the schema, none of which contains itself.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import sys
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.submission.pieces import BadSubmission, split, unpack
from sleepgym_boards.submission.schema import (
    MAX_RUNS,
    SCHEMA,
    Heading,
    Model,
    PhaseRecord,
    Run,
    Submission,
)

SUFFIXES = GZIP, XZ = (".json.gz", ".json.xz")
MAX_FILE_BYTES = 16 << 20
MAX_PARSED_BYTES = 120 << 20  # of memory, about: what is parsed, beside the file itself
_START = re.compile(rb'\{"format":"sleepgym-submission","schema_version":(\d{1,9}),')
_RUN_END = re.compile(rb'\],"digest":"([0-9a-f]{64})"\}(,|\]\}\n)$')
_NO_DIGEST = b'],"digest":"' + b"0" * 64 + b'"}'
# What objects of the schema take in CPython, beside their texts, rounded up.
_ANSWER_BYTES, _PHASE_BYTES, _LOGGED_BYTES, _TEXT_BYTES = 110, 2_000, 150, 16
_STORED_BYTES = 96  # of a dictionary that grows, by entry
_RECENT = 1 << 14  # answers that are looked among for the same
_HEAD_FACTOR = 20  # memory by byte of a run's settings


def read_bytes(path: Path) -> bytes:
    """A file as it is on disk.

    Raises:
        BadSubmission: Rule ``size``: it is larger than ``MAX_FILE_BYTES``.
        SleepGymError: If it is not there.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SleepGymError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise BadSubmission("size", f"the file is larger than {MAX_FILE_BYTES:,} bytes")
    return content


class _Reader:
    """Puts a submission together from its pieces, within ``MAX_PARSED_BYTES``."""

    def __init__(self) -> None:
        self.heading: Heading | None = None
        self.runs: list[Run] = []
        self.phases: list[PhaseRecord] = []
        self.open = False  # whether phases of the last run may follow
        self.ended = False
        self._names: dict[str, str] = {}
        self._recent: dict[str, str] = {}
        self._used_bytes = _RECENT * _STORED_BYTES

    def share_name(self, text: str) -> str:
        """An item or a prompt that was read before, where there is the same: exams repeat them."""
        found = self._names.get(text)
        if found is None:
            found = self._names[text] = text
            self._spend(sys.getsizeof(text) + _TEXT_BYTES + _STORED_BYTES)
        return found

    def share_answer(self, text: str) -> str:
        """An answer that was read lately, where there is the same.

        Some agents answer every question differently: to look for theirs among all would take more
        memory than it saves.
        """
        found = self._recent.get(text)
        if found is None:
            if len(self._recent) == _RECENT:
                self._recent.clear()
            found = self._recent[text] = text
            self._spend(sys.getsizeof(text) + _TEXT_BYTES)
        return found

    def take(self, piece: bytes) -> None:
        """Read the next piece.

        Raises:
            BadSubmission: Rules ``size``, ``schema`` or ``canonical``.
        """
        if self.heading is None:
            self._take_heading(piece)
        elif self.ended:
            raise BadSubmission("canonical", "something follows its end")
        elif piece.startswith(b'{"phase":') and self.open:
            self._take_phase(piece)
        elif piece.startswith(b'{"seed":') and not self.open:
            self._take_run(piece)
        else:
            raise BadSubmission("schema", f"{piece[:40]!r} does not stand where it belongs")

    def _take_heading(self, piece: bytes) -> None:
        _check_version(piece)
        head, runs, rest = piece.rpartition(b',"runs":[')
        if not runs or rest:  # there is no run: say what there is instead
            _validate(Submission, piece, "")
            raise BadSubmission("canonical", _OTHER_FORM)
        self.heading = _validate(Heading, head + b"}", "")
        self._spend(_HEAD_FACTOR * len(piece))

    def _take_run(self, piece: bytes) -> None:
        where, end = f"runs.{len(self.runs)}", _RUN_END.search(piece)
        begin = piece[: end.start()] if end else piece
        self._spend(_HEAD_FACTOR * len(piece))
        if not begin.endswith(b'"phases":['):
            _validate(Run, re.sub(rb"(,|\]\}\n)$", b"", piece), where)
            raise BadSubmission("canonical", _OTHER_FORM)
        run = _validate(Run, begin + _NO_DIGEST, where)
        self._check_schema(run, where)
        self.runs.append(run)
        self.phases, self.open = [], True
        if end:
            self._end_run(end)

    def _take_phase(self, piece: bytes) -> None:
        where, end = f"runs.{len(self.runs) - 1}.phases.{len(self.phases)}", _RUN_END.search(piece)
        phase = _validate(PhaseRecord, piece[: end.start() if end else -1], where, self)
        if not end and not piece.endswith(b","):
            raise BadSubmission("schema", f"{where}: its run neither goes on nor ends after it")
        self._check_schema(phase, where)
        logged = len(phase.ledger.log) if phase.ledger else 0
        self._spend(_PHASE_BYTES + _ANSWER_BYTES * len(phase.answers) + _LOGGED_BYTES * logged)
        self.phases.append(phase)
        if end:
            self._end_run(end)

    def _check_schema(self, part: Run | PhaseRecord, where: str) -> None:
        assert self.heading is not None
        if part.schema_version != self.heading.schema_version:
            raise BadSubmission(
                "schema", f"{where}: its fields are of schema {part.schema_version}"
            )

    def _end_run(self, end: re.Match[bytes]) -> None:
        update = {"phases": self.phases, "digest": end[1].decode()}
        self.runs[-1] = self.runs[-1].model_copy(update=update)
        self.open, self.ended = False, end[2] != b","

    def _spend(self, size_bytes: int) -> None:
        self._used_bytes += size_bytes
        if self._used_bytes > MAX_PARSED_BYTES:
            raise BadSubmission("size", f"to read it takes over {MAX_PARSED_BYTES:,} bytes")


def parse(content: bytes) -> Submission:
    """The submission in the bytes of a file.

    It takes less than 256 MB of memory, Python included, and ten seconds, whatever the bytes are.

    Raises:
        BadSubmission: Rules ``size``, ``container``, ``schema`` or ``canonical``.
    """
    reader = _Reader()
    for piece in split(content):
        reader.take(piece)
    if reader.heading is None or not reader.ended:
        raise BadSubmission("schema", "it ends early: its last run is not closed")
    if len(reader.runs) > MAX_RUNS:
        raise BadSubmission("schema", f"runs: at most {MAX_RUNS}, not {len(reader.runs)}")
    fields = {name: getattr(reader.heading, name) for name in Heading.model_fields}
    return Submission.model_construct(**fields, runs=reader.runs)


Part = TypeVar("Part", bound=Model)
_OTHER_FORM = "its JSON is not what `sleepgym submit` writes: white space, order, or a key twice"


def _validate(model: type[Part], text: bytes, where: str, store: _Reader | None = None) -> Part:
    try:
        found = model.model_validate_json(text, context=store)
    except ValidationError as error:
        raise BadSubmission("schema", _first(error, where)) from error
    if found.model_dump_json().encode() != text:
        raise BadSubmission("canonical", _OTHER_FORM)
    return found


def decompress(content: bytes) -> bytes:
    """What one complete gzip or xz stream holds, never more than ``MAX_CONTENT_BYTES`` of it.

    Raises:
        BadSubmission: Rules ``size`` or ``container``.
    """
    return b"".join(unpack(content))


def dump(submission: Submission) -> bytes:
    """A submission as the bytes of its JSON, the one way it is written."""
    return submission.model_dump_json().encode() + b"\n"


def compress(text: bytes, suffix: str = GZIP) -> bytes:
    """Compressed, without a name and a time, so that the same content gives the same bytes.

    Args:
        text: What :func:`dump` gives.
        suffix: Of the file. xz looks back over a whole run, whose questions come again: of long
            streams it makes a third to a quarter of what gzip makes.
    """
    if suffix == XZ:
        return lzma.compress(text, preset=7)
    return gzip.compress(text, compresslevel=9, mtime=0)


def suffix_of(path: Path) -> str:
    """The suffix of a submission file.

    Raises:
        SleepGymError: If it is another one.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise SleepGymError(f"{path.name}: a submission's name ends in {' or '.join(SUFFIXES)}")


def write(submission: Submission, path: Path) -> None:
    """Write a file, whole or not at all."""
    write_whole(compress(dump(submission), suffix_of(path)), path)


def write_whole(content: bytes, path: Path) -> None:
    """Write bytes to a file, whole or not at all.

    Raises:
        SleepGymError: If it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SleepGymError(f"{path}: cannot be written: {error.strerror}") from error


def sha256(content: bytes) -> str:
    """Hash of a file's bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _check_version(text: bytes) -> None:
    """Format and schema version, before the rest is looked at."""
    start = _START.match(text)
    if not start:
        raise BadSubmission("schema", "it does not begin as a sleepgym-submission")
    if int(start[1]) > SCHEMA:
        raise BadSubmission(
            "schema",
            f"schema {int(start[1])} is of a later SleepGym; this one reads {SCHEMA}: update it",
        )


def _first(error: ValidationError, inside: str = "") -> str:
    """The first thing that breaks the schema, and where."""
    found = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in (*([inside] if inside else []), *found["loc"]))[:200]
    shown = "" if found["type"] == "extra_forbidden" else f", not {found['input']!r:.60}"
    return f"{where}: {found['msg']}{shown}" if where else found["msg"]

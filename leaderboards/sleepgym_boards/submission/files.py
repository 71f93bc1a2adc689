"""Submission files: gzip of JSON, read as if every byte was meant to harm.

Nothing is unpacked to disk, nothing is executed, no name in a file is used as a path. What is read
is limited before it is read, compressed and decompressed. Nesting cannot go deep: every value is
parsed as a type of the schema, none of which contains itself.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from pathlib import Path

from pydantic import ValidationError

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.submission.schema import SCHEMA, Submission

MAX_FILE_BYTES = 16 << 20
MAX_CONTENT_BYTES = 128 << 20
_CHUNK_BYTES = 1 << 20
_START = re.compile(rb'\{"format":"sleepgym-submission","schema_version":(\d{1,9}),')


class BadSubmission(SleepGymError):
    """A file that cannot be read as a submission.

    Attributes:
        rule: The rule it breaks.
    """

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(problem)
        self.rule = rule


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


def parse(content: bytes) -> Submission:
    """The submission in the bytes of a file.

    Raises:
        BadSubmission: Rules ``size``, ``container``, ``schema`` or ``canonical``.
    """
    text = decompress(content)
    _check_version(text)
    try:
        submission = Submission.model_validate_json(text)
    except ValidationError as error:
        raise BadSubmission("schema", _first(error)) from error
    if dump(submission) != text:
        raise BadSubmission(
            "canonical",
            "its JSON is not what `sleepgym submit` writes: white space, order, or a key twice",
        )
    return submission


def decompress(content: bytes) -> bytes:
    """What one complete gzip stream holds, never more than ``MAX_CONTENT_BYTES`` of it.

    Raises:
        BadSubmission: Rules ``size`` or ``container``.
    """
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    parts, size, rest = [], 0, content
    try:
        while not inflate.eof:
            part = inflate.decompress(rest, _CHUNK_BYTES)
            rest = inflate.unconsumed_tail
            size += len(part)
            if size > MAX_CONTENT_BYTES:
                raise BadSubmission("size", f"it holds more than {MAX_CONTENT_BYTES:,} bytes")
            if not part and not inflate.eof:
                raise BadSubmission("container", "the file ends early: it was cut off")
            parts.append(part)
    except zlib.error as error:
        raise BadSubmission("container", f"not a gzip file: {error}") from error
    if inflate.unused_data or rest:
        raise BadSubmission("container", "something follows the end of the gzip stream")
    return b"".join(parts)


def dump(submission: Submission) -> bytes:
    """A submission as the bytes of its JSON, the one way it is written."""
    return submission.model_dump_json().encode() + b"\n"


def compress(text: bytes) -> bytes:
    """Gzip without a name and a time, so that the same content gives the same bytes."""
    return gzip.compress(text, compresslevel=9, mtime=0)


def write(submission: Submission, path: Path) -> None:
    """Write a file, whole or not at all."""
    write_whole(compress(dump(submission)), path)


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


def _first(error: ValidationError) -> str:
    """The first thing that breaks the schema, and where."""
    found = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in found["loc"])[:200]
    shown = "" if found["type"] == "extra_forbidden" else f", not {found['input']!r:.60}"
    return f"{where}: {found['msg']}{shown}" if where else found["msg"]

"""Strict reading of other people's files: what is wrong is a BadData with file and record."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadData

_SURROGATE = re.compile("[\ud800-\udfff]")


def bad(path: Path, what: str, record: str = "") -> BadData:
    """The error for a file that is not in its documented format.

    Args:
        path: The file.
        what: What is wrong.
        record: Which record, for example ``"train[3]"``.
    """
    where = f"{path}, {record}" if record else f"{path}"
    return BadData(f"{where}: {what}")


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        BadData: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise bad(path, f"not JSON: {error}") from error
    except RecursionError as error:
        raise bad(path, "not JSON that can be read: nested too deep") from error


def read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The wanted columns of a CSV file with a header, by row.

    Yields:
        The name of the row for messages (``"row 3"``, counted from 1 after the header) and the
        values of ``columns`` in the order asked for.

    Raises:
        BadData: If it cannot be read, lacks a column, or a row is not as wide as the header.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    row = 0
    try:
        header = next(reader, [])
        for column in columns:
            if header.count(column) != 1:
                raise bad(path, f"the header {header!r:.80} has no single column {column!r}")
        places = [header.index(column) for column in columns]
        for row, values in enumerate(reader, start=1):
            if len(values) != len(header):
                raise bad(path, f"{len(values)} fields, not {len(header)}", f"row {row}")
            yield f"row {row}", [values[place] for place in places]
    except csv.Error as error:
        raise bad(path, f"not CSV: {error}", f"row {row + 1}") from error


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that hold something, each with its name for messages.

    Raises:
        BadData: If it cannot be read, is not UTF-8, or holds nothing.
    """
    lines = read_text(path).split("\n")
    if not any(line.strip() for line in lines):
        raise bad(path, "it is empty")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"line {number}", line


def parse_object(line: str, path: Path, record: str) -> dict[str, Any]:
    """The JSON object on a line of a JSONL file.

    Raises:
        BadData: If the line is no JSON object, or names a field twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise bad(path, f"a field occurs twice: {line.strip():.60}", record)
        return fields

    try:
        value = json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise bad(path, f"not JSON: {error or 'nested too deep'}", record) from error
    if not isinstance(value, dict):
        raise bad(path, f"not an object: {line.strip():.60}", record)
    return value


def as_text(value: Any, path: Path, record: str, what: str) -> str:
    """``value``, if it is text with something in it.

    Raises:
        BadData: If it is not.
    """
    if not isinstance(value, str):
        raise bad(path, f"{what} is {value!r:.40}, not text", record)
    if not value.strip():
        raise bad(path, f"{what} is empty", record)
    if _SURROGATE.search(value):
        raise bad(path, f"{what} holds half a character (a lone surrogate)", record)
    return value


def as_label(value: Any, path: Path, record: str, what: str = "the label") -> str:
    """``value``, if it can be an answer label: text without white space at its ends.

    Raises:
        BadData: If it is not.
    """
    label = as_text(value, path, record, what)
    if label != label.strip():
        raise bad(path, f"{what} {label!r} has white space at its ends", record)
    return label


def as_list(value: Any, path: Path, record: str = "", what: str = "it") -> list[Any]:
    """``value``, if it is a list with something in it.

    Raises:
        BadData: If it is not.
    """
    if not isinstance(value, list) or not value:
        raise bad(path, f"{what} is not a list with something in it", record)
    return value


def as_fields(value: Any, names: tuple[str, ...], path: Path, record: str = "") -> list[Any]:
    """The values of ``names``, if ``value`` is an object that has them.

    Raises:
        BadData: If it is not.
    """
    if not isinstance(value, dict):
        raise bad(path, f"not an object with {', '.join(names)}", record)
    for name in names:
        if name not in value:
            raise bad(path, f"no {name!r} in it", record)
    return [value[name] for name in names]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file.

    Raises:
        BadData: If it cannot be read, is not UTF-8, or starts with a byte-order mark.
    """
    try:
        content = path.read_bytes()
        if content.startswith(codecs.BOM_UTF8):
            raise bad(path, "starts with a byte-order mark (BOM): save it as UTF-8 without one")
        return content.decode("utf-8")
    except OSError as error:
        raise bad(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise bad(path, f"not UTF-8 at byte {error.start}") from error

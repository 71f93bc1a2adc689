"""Files of JSON lines: strictly read, and chained so that a line that changed is found.

Every line of a run of schema 4 ends in a field ``chain``: the first 16 hex digits of the SHA-256
over the ``chain`` of the line before it (empty for the first) and the line's own bytes without the
field. So a line that was edited, removed or moved is found by its number. The chain is no
signature: whoever rewrites a file can chain it anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadRun
from sleepgym.core.types import plain_text

_FIELD = b', "chain": "'
_HEX_DIGITS = 16
_SHARED_CHARACTERS = 64
_MOST = 1e30  # of any number
_SHOWN_PHASES = ("study", "practice", "evening", "sleep", "morning")


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file, without their ``chain``.

    A torn last line (a crash) is left out. No file, no lines.

    Raises:
        BadRun: If another line is malformed, no object, or holds a value that its field cannot
            have.
    """
    rows = []
    for number, line in enumerate(_whole_lines(file), start=1):
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
            _check(row, _REQUIRED.get(file.name, ()))
        except (ValueError, RecursionError) as error:
            raise BadRun(f"{file}, line {number}: {error}") from error
        row.pop("chain", None)
        _share_texts(row)
        if b"\\ud" in line and isinstance(row.get("answer"), str):
            row["answer"] = plain_text(row["answer"])  # before 0.2 halves of surrogate pairs stood
        rows.append(row)
    return rows


def chained(rows: Iterable[dict[str, Any]], last: str) -> tuple[bytes, str]:
    """Rows as lines that follow a line whose ``chain`` is ``last``; the ``chain`` of the last one.

    Raises:
        ValueError: If a number is not finite.
    """
    lines = []
    for row in rows:
        body = json.dumps(row, allow_nan=False).encode("ascii")
        last = _link(last, body)
        lines.append(body[:-1] + _FIELD + last.encode() + b'"}\n')
    return b"".join(lines), last


def plain(rows: Iterable[dict[str, Any]]) -> bytes:
    """Rows as lines without a ``chain``, as runs before schema 4 have them.

    Raises:
        ValueError: If a number is not finite.
    """
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode("ascii")


def follow_chain(file: Path) -> tuple[list[int], str]:
    """The lines that do not follow the one before them as they were written, and the last link.

    Returns:
        Their numbers, from 1, and the ``chain`` of the last whole line; empty where there is none.
    """
    found: list[int] = []
    last: str | None = ""
    for number, line in enumerate(_whole_lines(file), start=1):
        body, link = _parts(line)
        if not link or (last is not None and _link(last, body) != link):
            found.append(number)
        last = link or None  # what follows a line without one may be as it was
    return found, last or ""


def _whole_lines(file: Path) -> Iterator[bytes]:
    """The lines of a file without their ends, one held at a time; not a torn last one."""
    if not file.exists():
        return
    with open(file, "rb") as handle:
        for line in handle:
            if line.endswith(b"\n"):
                yield line[:-1]


def _share_texts(row: dict[str, Any]) -> None:
    """Hold each short text once: ids and kinds come back every morning."""
    for name, value in row.items():
        if type(value) is str and len(value) <= _SHARED_CHARACTERS:
            row[name] = sys.intern(value)


def _link(last: str, body: bytes) -> str:
    return hashlib.sha256(last.encode() + body).hexdigest()[:_HEX_DIGITS]


def _parts(line: bytes) -> tuple[bytes, str]:
    """A line without its ``chain``, and that."""
    head, mark, tail = line.rpartition(_FIELD)
    if not mark or not tail.endswith(b'"}'):
        return line, ""
    return head + b"}", tail[:-2].decode("ascii", "replace")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no finite number")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MOST


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_text(value: Any) -> bool:
    return type(value) is str


Check = Callable[[Any], bool]
_COUNT: tuple[Check, str] = (_is_count, "a whole number from 0 to 1e30")
_AMOUNT: tuple[Check, str] = (_is_amount, "a finite number from 0 to 1e30")
_TEXT: tuple[Check, str] = (_is_text, "text")
_OPTIONAL_AMOUNT: tuple[Check, str] = (lambda v: v is None or _is_amount(v), _AMOUNT[1])
_RULES: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(("step", "day", "night", "item_day", "questions", "missing"), _COUNT),
    **dict.fromkeys(("read_tokens", "generated_tokens", "train_tokens"), _AMOUNT),
    **dict.fromkeys(("added_parameters", "state_bytes"), _COUNT),
    **dict.fromkeys(("seconds", "flops"), _AMOUNT),
    **dict.fromkeys(("processor_seconds", "gpu_seconds"), _OPTIONAL_AMOUNT),
    **dict.fromkeys(("id", "kind", "prompt", "answer", "state_digest"), _TEXT),
    "phase": (lambda v: v in _SHOWN_PHASES, f"one of {', '.join(_SHOWN_PHASES)}"),
    "score": (lambda v: v is None or _is_share(v), "a finite number in [0, 1]"),
    "exceeded": (lambda v: isinstance(v, list), "a list"),
    "log": (lambda v: isinstance(v, dict), "an object"),
}

_REQUIRED = {
    "phases.jsonl": ("step", "phase", "day", "questions"),
    "answers.jsonl": ("id", "answer", "score"),
    "nights.jsonl": ("night", "state_digest"),
}


def _check(row: Any, required: Iterable[str]) -> None:
    """Refuse what is no object, what lacks a field, and values that their fields cannot have.

    Raises:
        ValueError: In words.
    """
    if not isinstance(row, dict):
        raise ValueError(f"must be an object, not {row!r:.60}")
    for name in required:
        if name not in row:
            raise ValueError(f"it lacks {name!r}")
    for name, value in row.items():
        rule = _RULES.get(name)
        if rule is not None and not rule[0](value):
            raise ValueError(f"{name}={value!r:.60}: must be {rule[1]}")

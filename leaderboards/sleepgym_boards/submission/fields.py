"""Types of the fields of a submission, each no wider than it must be.

A submission is shown on pages, in terminals and in comments on pull requests, and its settings
stand in a command line that people copy; what cannot be written in these types cannot reach them.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo

FIRST_DAY = date(2026, 11, 22)  # of the project; no submission is older
MOST = 1e30  # of any number of an agent's own: a setting, an entry of a log
LEAST = 1e-30  # of one that is not 0
MOST_SECONDS = 1e8  # three years
LEAST_SECONDS = 1e-6  # of a phase that took any
MOST_OPERATIONS = 1e27


def _visible(text: str) -> str:
    """Without control, format (bidirectional), surrogate or unassigned characters or breaks."""
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "C" or category in ("Zl", "Zp"):
            raise ValueError(f"holds the control character {character!a}")
    return text


def _words(text: str) -> str:
    _visible(text.replace("\n", ""))
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._+=,:()-]*", text) or ".." in text:
        raise ValueError("may hold letters, digits, spaces and ._+=,:()- but no two dots in a row")
    return text


def _address(text: str) -> str:
    if not re.fullmatch(r"https://[\w.-]+(:\d+)?(/[\w.~%+/@=-]*)?", text, flags=re.ASCII):
        raise ValueError("must be an https:// address without a query")
    return text


def _date(text: str) -> str:
    """Zones differ: the day after today's in UTC is still allowed."""
    day, tomorrow = date.fromisoformat(text), datetime.now(UTC).date() + timedelta(days=1)
    if not FIRST_DAY <= day <= tomorrow:
        raise ValueError(f"must be from {FIRST_DAY} to {tomorrow}, which is tomorrow")
    return text


def _seeds(text: str) -> str:
    for first, last in re.findall(r"(\d+)-(\d+)", text):
        if int(first) > int(last):
            raise ValueError(f"the range {first}-{last} runs backwards: {last}-{first}")
    return text


def _is_zero(value: float) -> bool:
    """By its bits: a process that flushes the smallest numbers takes them for 0."""
    if isinstance(value, int):
        return value == 0
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return bits % 2**63 == 0


def _magnitude(value: Any) -> Any:
    if not _is_zero(value) and not LEAST <= abs(value) <= MOST:
        raise ValueError(f"must be 0 or between {LEAST:g} and {MOST:g} in size")
    return value


def _seconds(value: float) -> float:
    if not _is_zero(value) and value < LEAST_SECONDS:
        raise ValueError(f"must be 0 or at least {LEAST_SECONDS:g}")
    return value


def _operations(value: float) -> float:
    if not _is_zero(value) and value < 1:
        raise ValueError("must be 0 or at least 1")
    return value


def _shared_name(text: str, info: ValidationInfo) -> str:
    """The same object for the same text, where a reader gives a store of them."""
    return info.context.share_name(text) if info.context else text


def _shared_answer(text: str, info: ValidationInfo) -> str:
    return info.context.share_answer(text) if info.context else text


Name = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_name)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_visible)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=4_000), AfterValidator(_words)]
Address = Annotated[str, StringConstraints(max_length=200), AfterValidator(_address)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[ -~]+$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Salt = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32,128}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
Checkout = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}(-dirty)?$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_date)]
Seeds = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^(none|\d{1,15}(-\d{1,15})?(,\d{1,15}(-\d{1,15})?)*)$"
    ),
    AfterValidator(_seeds),
]
SharedName = AfterValidator(_shared_name)
SharedAnswer = AfterValidator(_shared_answer)
Count = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS), AfterValidator(_seconds)]
Operations = Annotated[float, Field(ge=0, le=MOST_OPERATIONS), AfterValidator(_operations)]
Whole = Annotated[int, AfterValidator(_magnitude)]
Real = Annotated[float, AfterValidator(_magnitude)]
Text = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_visible)]
Scalar = bool | Whole | Real | Text | None
Flat = Scalar | Annotated[list[Scalar], Field(max_length=1_000)]
Settings = Annotated[
    dict[Id, Flat | Annotated[dict[Id, Flat], Field(max_length=200)]], Field(max_length=200)
]

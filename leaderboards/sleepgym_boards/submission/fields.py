"""Types of the fields of a submission, each no wider than it must be.

A submission is shown on pages, in terminals and in comments on pull requests; what cannot be
written in these types cannot reach them.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints


def _words(text: str) -> str:
    """Text for people: no control, format (bidirectional) or unassigned characters."""
    for character in text:
        if unicodedata.category(character)[0] == "C" and character != "\n":
            raise ValueError(f"holds the control character {character!r}")
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
    date.fromisoformat(text)
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=80), AfterValidator(_name)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_words)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=4_000), AfterValidator(_words)]
Address = Annotated[str, StringConstraints(max_length=200), AfterValidator(_address)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[ -~]+$")]
Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")]
Checkout = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}(-dirty)?$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_date)]
Seeds = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^(none|\d{1,15}(-\d{1,15})?(,\d{1,15}(-\d{1,15})?)*)$"
    ),
]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Amount = Annotated[float, Field(ge=0)]
Scalar = bool | int | float | Annotated[str, StringConstraints(max_length=1_000)] | None
Flat = Scalar | Annotated[list[Scalar], Field(max_length=1_000)]
Settings = Annotated[dict[Id, Flat | dict[Id, Flat]], Field(max_length=200)]

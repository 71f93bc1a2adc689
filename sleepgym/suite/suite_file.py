"""The file of a suite: every field is known and of its type, labels name folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sleepgym.core.cost import Scale
from sleepgym.core.errors import SleepGymError, unknown_name
from sleepgym.suite.toml_file import read_toml

_LONGEST_BYTES = 200  # of a folder's name
_TEXT = (str, "text")
_NUMBER = (int | float, "a number")
_TEXTS = (list, "a list of texts")
_TABLE = (dict, "a table { name = value }")
_PART = {"id": _TEXT, "label": _TEXT, "settings": _TABLE}
_TABLES = {
    "envs": {**_PART, "scale": _TABLE, "data_files": _TEXTS, "offers": _TEXTS},
    "agents": {**_PART, "settings_on": _TABLE, "envs": _TEXTS},
    "downloads": {"what": _TEXT, "gigabytes": _NUMBER},
}
_FIELDS = {
    "summary": _TEXT,
    "seeds": (str | int | list | float, "numbers and ranges, for example 0-4 or 1,3,8"),
    "model": _TEXT,
    "parameters": _NUMBER,
    "tuned": (bool, "true or false"),
    "all_agents_of": _TEXT,
    **{name: (list, f"tables [[{name}]]") for name in _TABLES},
}
_NEEDED = {"": ("summary", "seeds", "envs"), "envs": ("id",), "agents": ("id",)}


def read_suite_file(file: Path) -> dict[str, Any]:
    """The content of a suite's file.

    Raises:
        SleepGymError: If it is no TOML, if a field is unknown, missing or of another type,
            or if two rows have one label; names the file.
    """
    try:
        content = read_toml(file)
        _check(content, _FIELDS, "", "")
        for name, known in _TABLES.items():
            for row in content.get(name, ()):
                if not isinstance(row, dict):
                    raise SleepGymError(f"{name}={row!r:.60}: must be tables [[{name}]]")
                _check(row, known, name, f" of [[{name}]]")
            _check_labels(name, content.get(name, ()))
    except SleepGymError as error:
        raise SleepGymError(f"suite file {file} is malformed: {error}") from error
    return content


def _check(row: Mapping[str, Any], known: Mapping[str, Any], name: str, where: str) -> None:
    for field, value in row.items():
        if field not in known:
            raise unknown_name(f"field{where}", field, known)
        kind, rule = known[field]
        strange = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if strange or (rule == _TEXTS[1] and not _are_texts(value)):
            raise SleepGymError(f"{field}={value!r:.60}{where}: must be {rule}")
    for field in _NEEDED.get(name, known):
        if field not in row:
            raise SleepGymError(f"it lacks {field}{where}")
    for label, settings in row.get("settings_on", {}).items():
        if not isinstance(settings, dict):
            raise SleepGymError(f"settings_on.{label}={settings!r:.60}: must be {_TABLE[1]}")
    for field in row.get("scale", {}):
        if field not in (sizes := [size.name for size in fields(Scale)]):
            raise unknown_name("field of scale", field, sizes)


def _are_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _check_labels(name: str, rows: list[dict[str, Any]]) -> None:
    """Labels are unique, and folders below the one that the suite writes into."""
    labels: set[str] = set()
    for row in rows if name != "downloads" else ():
        label = row.get("label", row["id"])
        parts = label.split("/")
        if not label.isprintable() or any(
            part.strip() in ("", ".", "..") or len(part.encode()) > _LONGEST_BYTES for part in parts
        ):
            raise SleepGymError(
                f"label={label!r:.60} of [[{name}]]: must name a folder, with at most "
                f"{_LONGEST_BYTES} bytes and without '..'"
            )
        if label in labels:
            raise SleepGymError(
                f"label={label!r} of two [[{name}]]: give each row a label of its own"
            )
        labels.add(label)

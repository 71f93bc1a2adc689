"""Settings from text: ``key=value`` pairs onto a frozen dataclass, checked, with good errors."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_type_hints

from sleepgym.core.errors import BadSetting, unknown_name


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """``["days=3", "dataset=clinc150"]`` -> ``{"days": "3", "dataset": "clinc150"}``.

    Raises:
        BadSetting: If a pair has no ``=``.
    """
    settings: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadSetting(f"setting {pair!r} is not of the form key=value")
        settings[name.strip()] = value.strip()
    return settings


def build_config(cls: type, settings: Mapping[str, Any], owner: str) -> Any:
    """An instance of the dataclass ``cls`` with ``settings`` laid over its defaults.

    Strings are read by the field's type (``"3"`` -> 3, ``"none"`` -> None, ``"true"`` -> True).

    Args:
        cls: A frozen dataclass; ranges come from ``Annotated`` types.
        settings: Field name -> value.
        owner: Whose settings these are, for messages.

    Raises:
        UnknownName: If a name is no field, with the nearest field.
        BadSetting: If a value breaks its field's type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    assert is_dataclass(cls)
    hints = get_type_hints(cls, include_extras=True)
    names = [f.name for f in fields(cls)]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in names:
            raise unknown_name(f"setting of {owner}", name, names)
        try:
            values[name] = TypeAdapter(hints[name]).validate_python(_read(value))
        except ValidationError as error:
            rule = error.errors()[0]["msg"]
            default = next(f.default for f in fields(cls) if f.name == name)
            raise BadSetting(
                f"{name}={value} of {owner}: {rule[0].lower()}{rule[1:]} (default {default})"
            ) from error
    try:
        return cls(**values)
    except ValueError as error:
        raise BadSetting(f"settings of {owner}: {error}") from error


def meanings(cls: type) -> dict[str, str]:
    """Field -> meaning, from the ``Attributes:`` section of a dataclass's docstring."""
    section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:")[2]
    found = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: ))*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON values, for records and hashes."""
    return json.loads(json.dumps(asdict(config)))


def _read(value: Any) -> Any:
    """Text as a command line gives it; lists are comma-separated or JSON."""
    if not isinstance(value, str):
        return value
    if value.lower() == "none":
        return None
    if value.startswith(("[", "{")):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value

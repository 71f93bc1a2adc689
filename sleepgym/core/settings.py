"""Settings: frozen dataclasses whose fields are documented and bounded where they are born.

A subclass inherits both. The bounds of a field are those of every class that declares it, so a
subclass that changes a default cannot widen a range. Settings from text (``key=value``) are laid
over the defaults by :func:`build_config`; settings in records, whose names may be older than the
code, go through :func:`upgrade_settings` first.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from sleepgym.core.errors import BadSetting, unknown_name


class _Presets(type):
    """Lays given settings over those of the preset that they name, if they name one."""

    presets: Mapping[str, Mapping[str, Any]]

    def __call__(cls, *args: Any, **given: Any) -> Any:
        return super().__call__(*args, **{**cls.presets.get(str(given.get("preset")), {}), **given})


@dataclass(frozen=True)
class Settings(metaclass=_Presets):
    """Base of configurations that refuse a value outside its range, however they are made.

    Subclasses are frozen dataclasses; ranges are ``Annotated`` types
    (``Annotated[int, Ge(1)] = 4``), meanings stand in the docstring's ``Attributes:`` section of
    the class that declares a field.

    Attributes:
        renamed: Old name -> new name of a setting; None for one that is gone. Records keep the
            names that they were written with.
        presets: Preset -> settings, of a class with a field ``preset``; further settings override.

    Raises:
        BadSetting: If a value breaks the type or range of its field.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        _check(self)


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
    from pydantic import ValidationError

    assert is_dataclass(cls)
    values: dict[str, Any] = {}
    rules, old, lists = _rules(cls), renamed_settings(cls), _lists(cls)
    stale = [name for name in settings if name in old and name not in rules]
    if stale:
        words = [f"{n} is called {old[n]} now" if old[n] else f"{n} is gone" for n in stale]
        raise BadSetting(f"settings of {owner} have other names: {', '.join(words)}")
    for name, value in settings.items():
        if name not in rules:
            raise unknown_name(f"setting of {owner}", name, rules)
        try:
            values[name] = _read(value, name in lists)
            for rule in rules[name]:
                values[name] = rule.validate_python(values[name])
            _check_finite(name, values[name])
        except ValidationError as error:
            default = next(f.default for f in fields(cls) if f.name == name)
            raise BadSetting(
                f"{name}={value} of {owner}: {_in_words(error)} (default {default})"
            ) from error
    try:
        return cls(**values)
    except (ValueError, BadSetting) as error:
        raise BadSetting(f"settings of {owner}: {error}") from error


def renamed_settings(cls: type) -> dict[str, str | None]:
    """Old name -> new name of every setting of a class that was renamed; None for a gone one."""
    found: dict[str, str | None] = {}
    for base in reversed(cls.__mro__):
        found |= vars(base).get("renamed", {})
    return found


def upgrade_settings(cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a record by the names of today, which win; those that are gone are left out."""
    old = renamed_settings(cls)
    names = {f.name for f in fields(cls)} if is_dataclass(cls) else set()
    upgraded: dict[str, Any] = {}
    for name, value in settings.items():
        now = name if name in names else old.get(name, name)
        if now is not None and (now == name or now not in settings):
            upgraded[now] = value
    return upgraded


def completed_settings(cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a record by the names of today; those that came later have their defaults."""
    return {**plain(cls()), **upgrade_settings(cls, settings)}


def meanings(cls: type) -> dict[str, str]:
    """Field -> meaning, from the ``Attributes:`` sections of a dataclass and those it inherits."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        for name, text in _attributes(base):
            found.setdefault(name, text)
    return {f.name: found[f.name] for f in fields(cls) if f.name in found}


def ranges(cls: type) -> dict[str, str]:
    """Field -> the values it may have, in a few words: ``">= 1"``, ``"forward, reverse, jsd"``.

    The ranges of all classes that declare a field hold together. Fields without one are left out.
    """
    found: dict[str, list[str]] = {}
    for base in cls.__mro__:
        own = vars(base).get("__annotations__", {})
        hints = get_type_hints(base, include_extras=True) if own else {}
        for name in own:
            found.setdefault(name, []).extend(_limits(hints[name]))
    words = {name: ", ".join(dict.fromkeys(limits)) for name, limits in found.items()}
    return {f.name: words[f.name] for f in fields(cls) if words.get(f.name)}


def _limits(hint: Any) -> list[str]:
    """The bounds in a type, and in the types that it is made of."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = getattr(hint, "__metadata__", ())
    limits = [
        f"{sign} {value:g}"
        for bound in bounds
        for name, sign in signs.items()
        if (value := getattr(bound, name, None)) is not None
    ]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    parts = [hint.__origin__] if bounds else get_args(hint)
    return limits + [words for part in parts for words in _limits(part)]


def _attributes(cls: type) -> list[tuple[str, str]]:
    section = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("Attributes:")[2]
    found = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: |\S))*)", section, flags=re.MULTILINE)
    return [(name, " ".join(text.split())) for name, text in found]


def plain(config: Any) -> dict[str, Any]:
    """A configuration as JSON values, for records and hashes."""
    return json.loads(json.dumps(asdict(config)))


def _read(value: Any, is_list: bool) -> Any:
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
    return [part.strip() for part in value.split(",") if part.strip()] if is_list else value


@cache
def _lists(cls: type) -> frozenset[str]:
    """Fields that hold several values."""
    hints = get_type_hints(cls)
    return frozenset(
        f.name
        for f in fields(cls)
        if get_origin(hints[f.name]) in (tuple, list)
        or any(get_origin(part) in (tuple, list) for part in get_args(hints[f.name]))
    )


@cache
def _rules(cls: type) -> dict[str, list[Any]]:
    """Field -> the rules of every class that declares it, its own first."""
    from pydantic import TypeAdapter

    found: dict[str, list[Any]] = {f.name: [] for f in fields(cls)}
    for base in cls.__mro__:
        own = vars(base).get("__annotations__", {})
        hints = get_type_hints(base, include_extras=True) if own else {}
        for name in own:
            if name in found:
                found[name].append(TypeAdapter(hints[name]))
    return found


def _check(config: Any) -> None:
    from pydantic import ValidationError

    for name, rules in _rules(type(config)).items():
        value = getattr(config, name)
        try:
            for rule in rules:
                rule.validate_python(value, strict=True)
            _check_finite(name, value)
        except ValidationError as error:
            raise BadSetting(f"{name}={value}: {_in_words(error)}") from error


def _check_finite(name: str, value: Any) -> None:
    """Refuse what no record can hold; a limit that there is not is None.

    Raises:
        BadSetting: If a number is infinite or none.
    """
    for number in value if isinstance(value, tuple | list) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            raise BadSetting(
                f"{name}={number}: must be a finite number; none, where it may be unset"
            )


def _in_words(error: Any) -> str:
    rule = error.errors()[0]["msg"]
    return f"{rule[0].lower()}{rule[1:]}"

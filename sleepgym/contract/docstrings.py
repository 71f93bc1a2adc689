"""What docstrings say, in parts: pages and method cards are made from them."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any


def plain_text(text: str) -> str:
    """Docstring text without its markup, quoted names in backquotes."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").strip()


def summary(thing: Any) -> str:
    """The first paragraph of a docstring, in one line; empty where there is none."""
    first = inspect.cleandoc(vars(thing).get("__doc__") or "").partition("\n\n")[0]
    return plain_text(" ".join(first.split()))


def departures(thing: Any) -> list[str]:
    """The numbered items of a docstring's section ``Departures:``, a line each.

    "Those of :class:`package.module.Name`." (or ``:mod:``, or a name of the same module) stands
    for the items of that docstring.

    Args:
        thing: A class or module.
    """
    text = inspect.cleandoc(vars(thing).get("__doc__") or "")
    section = re.match(r"(?:[ \t].*\n?|\n)*", text.partition("\nDepartures:\n")[2])
    items: list[str] = []
    for item in re.split(r"^ +\d+\. ", section[0] if section else "", flags=re.MULTILINE)[1:]:
        line = " ".join(item.split())
        other = re.fullmatch(r"Those of :\w+:`~?([\w.]+)`\.", line)
        items += departures(_find(other[1], thing)) if other else [plain_text(line)]
    return items


def _find(path: str, near: Any) -> Any:
    """What a reference in the docstring of ``near`` leads to."""
    module, _, name = path.rpartition(".")
    if not module:
        home = near if isinstance(near, ModuleType) else inspect.getmodule(near)
        return getattr(home, name)
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(path)

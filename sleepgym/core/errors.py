"""Errors a person can act on: one line, the value, the rule, the nearest valid choice."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path


class SleepGymError(Exception):
    """Bad input or a broken contract; the command line prints it and exits with 2."""


class UnknownName(SleepGymError):
    """A name that is not in a registry or a configuration."""


class BadSetting(SleepGymError):
    """A setting whose value breaks its type or range."""


class MissingData(SleepGymError):
    """A data set, model or optional dependency that is not at hand."""


class BadData(SleepGymError):
    """A data file that is not in its documented format."""


class BadRun(SleepGymError):
    """A run directory that cannot be read, or that holds another configuration."""


class EndpointError(SleepGymError):
    """A server of a model that is down, slow or unintelligible; the run stays resumable."""


class AgentError(SleepGymError):
    """An agent that broke its contract or raised; the run stays resumable."""


def one_line(text: str, most: int = 1000) -> str:
    """A text of anybody's as one line that a terminal only shows: no breaks, no control characters.

    Args:
        text: Any text.
        most: Characters that are kept.
    """
    words = " ".join(text.split())[:most]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def place(error: BaseException) -> str:
    """Where an error was raised, as ``" (mine.py, line 7)"``: in a sentence about it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, SyntaxError):  # which says so itself
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def unknown_name(what: str, name: str, choices: Iterable[str]) -> UnknownName:
    """The error for a name that no registry holds, with the nearest ones that exist.

    Args:
        what: Kind of thing, for example ``"agent"``.
        name: What the user wrote.
        choices: The names that exist.
    """
    from rapidfuzz import process

    names = sorted(choices)
    near = [match for match, score, _ in process.extract(name, names, limit=3) if score >= 60]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return UnknownName(f"unknown {what} {name!r}: {hint}" if names else f"unknown {what} {name!r}")

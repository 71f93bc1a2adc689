"""Where the command line prints: a terminal of any width and encoding, a pipe, or a file."""

from __future__ import annotations

import codecs
import os
import sys

from rich.console import Console

_PLAIN = {"±": "+-", "–": "-", "−": "-", "—": "-", "…": "...", "×": "x", "·": "-", "•": "*"}

PIPE_WIDTH = 80

console = Console()


def choose_width() -> None:
    """Go by COLUMNS; a pipe has no width of its own."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        console.width = int(columns)
    elif not console.is_terminal:
        console.width = PIPE_WIDTH


def accept_any_text() -> None:
    """Let streams that cannot encode a character print a plain one in its place."""
    codecs.register_error("sleepgym", _replace)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # not where a test captures them
        if reconfigure:
            reconfigure(errors="sleepgym")


def _replace(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in text), error.end

"""Progress: a bar in a terminal, a plain line every few seconds in a pipe or a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sleepgym.cli.console import console

EVERY_S = 5.0


class Report(Protocol):
    """Tells how far a command has come."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """``done`` of ``total`` parts; the last of them was ``what``."""


@contextmanager
def progress(quiet: bool = False) -> Iterator[Report]:
    """Show progress while the block runs.

    Args:
        quiet: Show nothing where it would mix with the output (JSON in a pipe).
    """
    if console.is_terminal:
        with _bar() as bar:
            task = bar.add_task("starting", total=None)
            yield lambda done, total, what: bar.update(
                task, completed=done, total=total, description=what
            )
    elif quiet:
        yield lambda done, total, what: None
    else:
        yield _Lines()


class _Lines:
    """The first report, the last, and one every few seconds between them."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now >= self._next_s or done == total:
            print(f"[{done}/{total}] {what}", flush=True)
            self._next_s = now + EVERY_S


def _bar():
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )

"""The processes below one: which there are, what they cost, and their end. Linux alone tells."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

DIE_WITH_PARENT, BECOME_SUBREAPER = 1, 36  # prctl(2)
_PROC = Path("/proc")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
# User and system time of a process, and of its children that ended, in /proc/PID/stat
_OWN, _CHILDREN = slice(11, 13), slice(13, 15)


def children(parent: int) -> list[int]:
    """Processes whose parent is ``parent``, also those that ended and were not waited for."""
    found = []
    try:
        for task in (_PROC / str(parent) / "task").iterdir():
            with suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
    except OSError:  # it ended, or there is no /proc
        return []
    return found


def descendants(root: int) -> Iterator[int]:
    """All processes below ``root``, parents first."""
    for child in children(root):
        yield child
        yield from descendants(child)


def ticks_below(root: int) -> int | None:
    """User and system time of all processes below ``root`` in clock ticks; None where it is gone.

    Those that ended count too, as far as somebody waited for them: nothing is lost where ``root``
    takes in orphans and waits for them.
    """
    fields = _fields(root)
    return _sum(fields, _CHILDREN) + sum(map(ticks_with, children(root))) if fields else None


def ticks_with(root: int) -> int:
    """The same with ``root`` itself; 0 where it is gone."""
    return _sum(_fields(root), _OWN) + (ticks_below(root) or 0)


def seconds(ticks: int) -> float:
    """Clock ticks as seconds."""
    return ticks / _TICKS_A_SECOND


def kill_below(root: int) -> None:
    """End everything below a process; orphans must become its children."""
    for _ in range(100):
        below = [pid for pid in descendants(root) if not _has_ended(pid)]
        for pid in below:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not below:
            return


def adopt_orphans() -> None:
    """Make processes below this one its children when their parent has ended."""
    control_process(BECOME_SUBREAPER, 1)


def control_process(option: int, value: int) -> None:
    """prctl(2), which Linux alone has; elsewhere what it does is missing, and nothing else."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def end_strangers(known: Collection[int]) -> None:
    """End the children of this process that it did not start, and all below them.

    Args:
        known: Those that it did; what lives in its session, too, is its own.
    """
    for _ in range(100):
        here = os.getsid(0)
        found = [pid for pid in children(os.getpid()) if pid not in known and _session(pid) != here]
        for pid in found:
            kill_below(pid)
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        if not found:
            return


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; none where it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _has_ended(pid: int) -> bool:
    fields = _fields(pid)
    return not fields or fields[0] == "Z"


def _sum(fields: list[str], which: slice) -> int:
    return sum(map(int, fields[which]))

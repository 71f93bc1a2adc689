"""How much memory is free, and how much the processes below one take. Linux alone tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sleepgym.runs.isolation.process_tree import descendants

_PROC = Path("/proc")
_GROUP = Path("/sys/fs/cgroup")
_TAKEN = ("RssAnon", "RssShmem", "VmSwap")  # what is read from files can be read again


def free_memory_bytes() -> int | None:
    """Memory that can still be taken here, within the limit of a container; None where unknown."""
    free = next(_values(_PROC / "meminfo", ("MemAvailable",)), None)
    if free is None:
        return None
    try:
        limit = int((_GROUP / "memory.max").read_text())
        held = int((_GROUP / "memory.current").read_text())
        held -= sum(_cached(_GROUP / "memory.stat"))
        return min(free, limit - held)
    except (OSError, ValueError):
        return free


def taken_below_bytes(root: int) -> int:
    """Memory of all processes below ``root``; pages that they share count in each."""
    return sum(sum(_values(_PROC / str(pid) / "status", _TAKEN)) for pid in descendants(root))


def _cached(stat: Path) -> Iterator[int]:
    """Bytes of files that a container holds, and gives back where memory is wanted."""
    for line in stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("active_file", "inactive_file"):
            yield int(value)


def _values(file: Path, names: tuple[str, ...]) -> Iterator[int]:
    """Bytes by name, of a file whose lines are ``Name: 12 kB``; nothing where it is gone."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, value = line.partition(":")
        if name in names:
            yield int(value.split()[0]) << 10

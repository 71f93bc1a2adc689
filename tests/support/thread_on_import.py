"""A library that starts a thread on import and cannot do without it, as some numeric ones do."""

from __future__ import annotations

import queue
import threading

_asked: queue.Queue[int] = queue.Queue()
_told: queue.Queue[int] = queue.Queue()


def double(number: int) -> int:
    """Twice a number, worked out by the thread; in a fork, which has none, it waits for ever."""
    _asked.put(number)
    return _told.get()


def _work() -> None:
    while True:
        _told.put(2 * _asked.get())


threading.Thread(target=_work, daemon=True).start()

"""A started process as a run sees it: a connection, two folders, and its end."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from sleepgym.core import errors
from sleepgym.core.errors import AgentError, SleepGymError, one_line
from sleepgym.runs.archive import remove_tree
from sleepgym.runs.day import Raised
from sleepgym.runs.isolation.call import AgentCall
from sleepgym.runs.isolation.messages import MAX_LINE_BYTES, Line, Silence
from sleepgym.runs.isolation.process_tree import seconds
from sleepgym.runs.isolation.sandbox import SAVED, STATE

START_LIMIT_S = 600.0
STDERR_LINES = 20


class AgentProcess:
    """A started process, its connection, and the folder through which states go."""

    def __init__(self, call: AgentCall, exchange: Path, connection: socket.socket) -> None:
        self.call = call
        self.exchange = exchange
        self.line = Line(connection)
        self.model = call.told_model()
        self.tail: deque[str] = deque(maxlen=STDERR_LINES)
        self.kill: Callable[[], None] | None = None
        self.ticks: Callable[[], int | None] = lambda: None
        self.taken_bytes: Callable[[], int] = lambda: 0
        self._start_ticks: int | None = None
        self._ended: int | None = None  # can be read from when the process has ended

    def watch(self, pid: int) -> None:
        """Notice when this process ends; Linux alone tells."""
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._ended = os.pidfd_open(pid)

    def inside(self, name: str) -> str:
        """Where the process finds ``state`` or ``saved``."""
        if self.call.sandbox:
            return {"state": STATE, "saved": SAVED}[name]
        return str(self.exchange / name)

    def begin(self, call: AgentCall) -> AgentProcess:
        """Take it for a call: what it costs is counted from now on."""
        self.call, self._start_ticks = call, self.ticks()
        return self

    @property
    def processor_s(self) -> float | None:
        """User and system seconds since it began, of all that it started too."""
        now = self.ticks()
        if now is None or self._start_ticks is None:
            return None
        return seconds(max(0, now - self._start_ticks))

    def ask(
        self, verb: str, told: Any, limit_s: float | None = None, more: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Send a request; the reply, within the limit of its phase where no other is given.

        Args:
            verb: What is asked for.
            told: What it needs.
            limit_s: Longest wait for the reply.
            more: Messages that follow the request, JSON each.

        Raises:
            AgentError: If the process ends, is too slow, takes too much memory, says too much, or
                the agent raised.
            SleepGymError: If the agent raised one of ours.
        """
        limit_s = limit_s or self.call.limit_s
        try:
            for text in chain([json.dumps([verb, told])], more):
                with suppress(OSError):  # it is gone: there will be no answer
                    self.line.send(text)
            look = None if self.call.memory_bytes is None else self._limit_memory
            reply = self.line.receive(limit_s, MAX_LINE_BYTES, self._ended, look)
        except Silence as error:
            self.end()
            last = f": {one_line(self.tail[-1], 200)}" if self.tail else ""
            raise AgentError(f"its process {error}{last}") from error
        if not isinstance(reply, dict):
            raise AgentError("its process answered with what is no reply")
        if "error" in reply:
            raise raised(reply["error"])
        return reply

    def _limit_memory(self) -> None:
        limit, taken = self.call.memory_bytes, self.taken_bytes()
        if limit is not None and taken > limit:
            raise Silence(f"took {taken / 1e9:.2g} GB of memory, of {limit / 1e9:.2g} GB")

    def end(self) -> None:
        """Kill it and everything that it started; remove its folder."""
        if self.kill is not None:
            self.kill()
            self.kill = None
        self.line.connection.close()
        if self._ended is not None:
            os.close(self._ended)
            self._ended = None
        remove_tree(self.exchange)


def open_exchange(call: AgentCall) -> tuple[AgentProcess, socket.socket]:
    """The folder and connection of a process that is still to be started; its end of the latter."""
    folder = Path(tempfile.mkdtemp(prefix="sleepgym-"))
    for name in ("state", "saved", "scratch"):
        (folder / name).mkdir()
    ours, theirs = socket.socketpair()
    return AgentProcess(call, folder, ours), theirs


def raised(told: Any) -> Exception:
    """What an agent raised, as told by its process: one of our errors, or :class:`Raised`."""
    if not (isinstance(told, list) and len(told) == 3 and all(isinstance(t, str) for t in told)):
        return AgentError("its process answered with what is no reply")
    kind, message, trace = told
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, SleepGymError):
        return known(one_line(message))
    return Raised(one_line(kind, 100), one_line(message), trace)

"""A process that imports libraries, nothing of an agent's, and forks every instance from itself.

An instance starts in milliseconds so, and no two share memory. A process with threads cannot be
forked safely: what they hold stays locked in the child for ever. Where an import starts one, the
nursery begins anew without that library, and instances import it themselves. Where several do, the
cause lies below them, as in a build of torch: then it imports no library any more.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from sleepgym.runs.isolation.process_tree import (
    DIE_WITH_PARENT,
    adopt_orphans,
    control_process,
    kill_below,
)
from sleepgym.runs.isolation.worker import preload, serve_alone, start_words

MOST_LEFT_OUT = 6  # libraries: every one costs the import of all others once more


def main(handle: int, modules: list[str], left_out: list[str], again: bool = False) -> None:
    """Entry point of the process, on an inherited socket.

    Args:
        handle: Of the socket.
        modules: Libraries to import at once.
        left_out: Those that start threads.
        again: Whether the import was asked for by a nursery that this one replaces.
    """
    control = socket.socket(fileno=handle)
    control.set_inheritable(False)
    nursery = Nursery(control, left_out)
    nursery.preload(modules)
    if again:
        nursery.reply(0)
    nursery.serve()


class Nursery:
    """Forks an instance for every connection that comes; imports what it is told to.

    Attributes:
        control: Where libraries are named and connections arrive.
        imported: Libraries that it was told to import.
        left_out: Those among them that started threads; what lies below them is left out too.
    """

    def __init__(self, control: socket.socket, left_out: list[str]) -> None:
        self.control = control
        self.imported: list[str] = []
        self.left_out = left_out
        threads, pools = count_threads()
        self._threads_a_pool = threads / max(1, pools)  # NumPy's, which is loaded by now

    def serve(self) -> None:
        """Do what is asked until the other side is gone; then remove what this process left.

        Where the run was killed, nobody else can remove the folders that it made.
        """
        folders = [Path(sys.path[-1])]  # the view
        adopt_orphans()
        signal.signal(signal.SIGCHLD, _reap)
        while True:
            message, handles, _, _ = socket.recv_fds(self.control, 1 << 20, 1)
            if not message:
                kill_below(os.getpid())
                for folder in folders:
                    shutil.rmtree(folder, ignore_errors=True)
                return
            if not handles:
                self.preload(message.decode().split())
                self.reply(0)
                continue
            folders[1:] = [Path(message.decode()).parent]  # of this instance; the last one is gone
            child = os.fork()
            if child == 0:
                self._begin(message.decode(), handles[0])
            os.close(handles[0])
            self.reply(child)

    def preload(self, modules: list[str]) -> None:
        """Import libraries; where one starts threads, become a new nursery that leaves it out.

        The new one has the same process number, connection and children. It does not return here:
        it imports what is left, and replies.
        """
        self.imported += modules
        threads, pools = count_threads()
        for name in preload(name for name in modules if not self._leaves_out(name)):
            threads_now, pools_now = count_threads()
            if threads_now > threads + (pools_now - pools) * self._threads_a_pool:
                self.control.set_inheritable(True)
                left_out = [*self.left_out, name.partition(".")[0]]
                told = (self.control.fileno(), self.imported, left_out, True)
                words = start_words("nursery", sys.path[-1], *told)
                os.execv(sys.executable, [sys.executable, *words])

    def reply(self, number: int) -> None:
        """What was asked is done."""
        self.control.sendall(f"{number}\n".encode())

    def _leaves_out(self, module: str) -> bool:
        library = module.partition(".")[0]
        return library in self.left_out or len(self.left_out) > MOST_LEFT_OUT

    def _begin(self, scratch: str, handle: int) -> None:
        """Become an instance."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        control_process(DIE_WITH_PARENT, signal.SIGKILL)
        self.control.close()
        os.chdir(scratch)
        tempfile.tempdir = None
        serve_alone(socket.socket(fileno=handle))


def count_threads() -> tuple[int, int]:
    """Threads beside the first, and the copies of OpenBLAS that are loaded.

    OpenBLAS starts threads when it is loaded and ends them before a fork: they do no harm, and
    every copy starts as many. Linux alone tells; elsewhere only threads of Python are seen.
    """
    try:
        threads = len(os.listdir("/proc/self/task")) - 1
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return threading.active_count() - 1, 0
    return threads, len({line.split()[-1] for line in lines if "openblas" in line})


def _reap(*_: Any) -> None:
    """Wait for whatever has ended: its processor time is added to this process's children's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

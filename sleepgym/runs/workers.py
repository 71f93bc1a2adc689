"""Worker processes that never outlive the command that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread


def make_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, each of which ends at once when its parent does.

    A parent that is killed cannot tell its workers, and they would go on for hours beside whatever
    resumes their runs. Ending at once loses nothing: runs are resumed from their last phase. On
    Linux the kernel ends them; elsewhere a thread does, as soon as a library lets it run.

    Args:
        workers: Processes, at least 1.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_follow_parent)


_SET_PARENT_DEATH_SIGNAL = 1  # of prctl(2)


def _follow_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(parent: int) -> None:
    wait([parent])
    os._exit(1)

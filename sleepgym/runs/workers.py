"""Worker processes that never outlive the command that started them."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread


def make_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, each of which ends at once when its parent does.

    A parent that is killed cannot tell its workers, and they would go on for hours beside whatever
    resumes their runs. Ending at once loses nothing: runs are resumed from their last phase.

    Args:
        workers: Processes, at least 1.
    """
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(parent: int) -> None:
    wait([parent])
    os._exit(1)

"""Clocks that no agent can set: processor time from the system, GPU time from the driver.

Wall-clock time is :func:`time.perf_counter` of the process that runs the stream.
"""

from __future__ import annotations

import os
import time
from functools import cache
from threading import Thread
from typing import Any

EVERY_S = 0.1


def processor_s() -> float:
    """User and system seconds of this process, every thread, and of its children that ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def gpu_s() -> float | None:
    """Seconds during which the GPUs that this process may use were busy, since they were first
    asked; added up over several; None where NVML does not answer.

    NVML does not tell processes apart inside a container, so work of others on the same GPU counts
    too. The library (``nvidia-ml-py``) is optional.
    """
    clock = _gpu_clock()
    return None if clock is None else clock.busy_s


class GpuClock:
    """Adds up the share of time in which a kernel ran, as NVML samples it.

    Attributes:
        busy_s: So far.
        thread: Samples until the driver is lost.
    """

    def __init__(self, nvml: Any, handles: list[Any]) -> None:
        """Begin to sample.

        Args:
            nvml: The module ``pynvml``, initialised.
            handles: Of the devices to watch.
        """
        self.busy_s = 0.0
        self._nvml = nvml
        self._handles = handles
        self.thread = Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        last_s = time.perf_counter()
        while True:
            time.sleep(EVERY_S)
            now_s = time.perf_counter()
            try:
                shares = [self._nvml.nvmlDeviceGetUtilizationRates(h).gpu for h in self._handles]
            except self._nvml.NVMLError:
                return
            self.busy_s += (now_s - last_s) * sum(shares) / 100
            last_s = now_s


@cache
def _gpu_clock() -> GpuClock | None:
    try:
        import pynvml as nvml  # pyright: ignore[reportMissingImports]  (optional)
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handles = [
            nvml.nvmlDeviceGetHandleByIndex(index) for index in _visible(nvml.nvmlDeviceGetCount())
        ]
        for handle in handles:
            nvml.nvmlDeviceGetUtilizationRates(handle)
    except nvml.NVMLError:
        return None
    return GpuClock(nvml, handles) if handles else None


def _visible(count: int) -> list[int]:
    """Of ``count`` devices those that CUDA_VISIBLE_DEVICES names by number, else all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    words = None if named is None else [word.strip() for word in named.split(",") if word.strip()]
    if words is None or not all(word.isdigit() for word in words):
        return list(range(count))
    return [int(word) for word in words if int(word) < count]

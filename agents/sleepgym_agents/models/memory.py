"""What a model takes of memory and disk, told before it is taken."""

from __future__ import annotations

import json
import logging
from functools import cache
from math import prod
from pathlib import Path

from sleepgym.core.errors import BadSetting

ADAM_BYTES = 8  # of a trained parameter: two moments in float32
TOLD_BYTES = 100_000_000  # less is not worth a line
_HEADER_BYTES = 8
log = logging.getLogger(__name__)


def parameters_of(folder: Path) -> int:
    """Numbers in a folder's safetensors files, by their headers; 0 where there are none."""
    count = 0
    for file in folder.glob("*.safetensors"):
        try:
            with open(file, "rb") as opened:
                size = int.from_bytes(opened.read(_HEADER_BYTES), "little")
                if size > file.stat().st_size:
                    return 0  # damaged: whoever loads it says so
                header = json.loads(opened.read(size))
            count += sum(prod(t["shape"]) for n, t in header.items() if n != "__metadata__")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return 0
    return count


def free_bytes(device: str) -> int | None:
    """Memory that is free there; None where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(torch.device(device))[0]
    if device != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return None
    try:  # within a container
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        return min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return free


def require_memory(what: str, needed_bytes: int, device: str, remedy: str) -> None:
    """Refuse what will not fit.

    Raises:
        BadSetting: If less is free than is needed.
    """
    free = free_bytes(device)
    if free is not None and needed_bytes > free:
        raise BadSetting(
            f"{what} takes {needed_bytes / 1e9:.1f} GB of memory, and {device} has "
            f"{free / 1e9:.1f} GB free: {remedy}"
        )


@cache
def foretell_training(model: str, parameters: int, item_bytes: int, device: str) -> None:
    """Say what training all weights will take, and refuse what will not fit; once in a process.

    Args:
        model: What the user called it.
        parameters: How many are trained.
        item_bytes: Of a weight.
        device: Where.

    Raises:
        BadSetting: If a night will not fit.
    """
    night_bytes = parameters * (item_bytes + ADAM_BYTES)  # gradients, moments
    if night_bytes < TOLD_BYTES:
        return
    remedy = "set a rank (naive-lora, sdft, ...), a smaller --model, or another --device"
    require_memory(f"model {model!r}: a night of training all weights", night_bytes, device, remedy)
    log.info(
        "model %s: a night trains all weights: %.1f GB of memory beside them, %.1f GB of state",
        model,
        night_bytes / 1e9,
        parameters * item_bytes / 1e9,
    )

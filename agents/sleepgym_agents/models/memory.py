"""What a model takes of memory, told before it is taken."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

from sleepgym.core.errors import BadSetting
from sleepgym.runs.isolation.memory import free_memory_bytes

_HEADER_BYTES = 8


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
    return free_memory_bytes()


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

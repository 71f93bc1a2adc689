"""Expert memory on disk: unlocked experts and the router's state, nothing of the base model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from sleepgym.core.errors import BadRun
from sleepgym_agents.experts.expert import Expert, pack, unpack
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.checkpoints import read_tensors


def save_memory(memory: ExpertMemory, path: Path) -> None:
    """Write unlocked experts and the router's state; nothing where there is none.

    Args:
        memory: What to write.
        path: Folder of ``memory.json`` (expert ids), ``experts.safetensors``, and one file named
            after what the router stores (names with classes, or keys).
    """
    stored = {name: t.cpu().contiguous() for name, t in memory.router.tensors().items()}
    if not memory.unlocked and not any(tensor.numel() for tensor in stored.values()):
        return
    (path / "memory.json").write_text(json.dumps({"unlocked": memory.unlocked}) + "\n")
    tensors = {
        f"{level}.{slot}.{layer}.{name}": weight.cpu().contiguous()
        for layer, experts in enumerate(_by_layer(memory))
        for (level, slot), kept in zip(
            memory.unlocked, pack(experts, memory.settings.expert_dtype), strict=True
        )
        for name, weight in kept.items()
    }
    if tensors:
        save_file(tensors, path / "experts.safetensors")
    if stored:
        save_file(stored, path / f"{memory.router.stores}.safetensors")


def load_memory(memory: ExpertMemory, path: Path) -> None:
    """Load what :func:`save_memory` wrote.

    Raises:
        BadRun: If a file is damaged or of another model.
    """
    if not (path / "memory.json").is_file():
        return
    try:
        unlocked = json.loads((path / "memory.json").read_text())["unlocked"]
        memory.restore([(int(level), int(slot)) for level, slot in unlocked])
        tensors = read_tensors(path / "experts.safetensors") if memory.unlocked else {}
        packed: dict[str, dict[str, Tensor]] = {}
        for full_name, tensor in tensors.items():
            place, _, name = full_name.rpartition(".")
            packed.setdefault(place, {})[name] = tensor
        for layer, experts in enumerate(_by_layer(memory)):
            unpack(experts, [packed[f"{level}.{slot}.{layer}"] for level, slot in memory.unlocked])
        if memory.router.stores:
            memory.router.restore(read_tensors(path / f"{memory.router.stores}.safetensors"))
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise BadRun(f"{path}: not the expert memory of this model: {error}") from error


def _by_layer(memory: ExpertMemory) -> list[tuple[Expert, ...]]:
    """The unlocked experts' parts in each layer."""
    return list(zip(*(memory.experts(expert_id) for expert_id in memory.unlocked), strict=True))

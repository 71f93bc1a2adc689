"""Models that are another model with an adapter of ours: merged once, kept in the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sleepgym.core.errors import MissingData
from sleepgym_agents.models.gguf_files import whole_folder

ADAPTERS = Path(__file__).parent  # a folder each: adapter.safetensors, card.json, prompt.json
WEIGHTS = "model.safetensors"


def merge_adapter(base: Path, adapter: str, folder: Path) -> None:
    """Write a base model with a LoRA adapter added to its weights as a folder of its own.

    The folder appears whole or not at all. It has the base's tokenizer, and the adapter's
    ``prompt.json``. Sums are taken in double precision and rounded once, so that the files are the
    same, byte by byte, on every machine: boards tell a model by their digest.

    Args:
        base: Folder of the base model, its weights in one file.
        adapter: Name of a folder beside this module.
        folder: Where the merged model goes.

    Raises:
        MissingData: If the adapter does not fit the base model.
    """
    from safetensors.torch import load_file, save_file

    own = ADAPTERS / adapter
    card = json.loads((own / "card.json").read_text(encoding="utf-8"))
    scale = card["alpha"] / card["rank"]
    weights, lora = load_file(base / WEIGHTS), load_file(own / "adapter.safetensors")
    for name, down in lora.items():
        layer, mark, rest = name.partition(".lora_A.")
        if not mark:
            continue
        up, weight = lora[f"{layer}.lora_B.{rest}"], weights.get(f"{layer}.weight")
        if weight is None or weight.shape != (up.shape[0], down.shape[1]):
            raise MissingData(f"adapter {adapter} does not fit {base}: it lacks {layer}")
        delta = scale * up.double() @ down.double()  # bfloat16 factors: exact in any order
        weights[f"{layer}.weight"] = (weight.double() + delta).to(weight.dtype)
    with whole_folder(folder) as scratch:
        shutil.copytree(base, scratch, dirs_exist_ok=True)
        save_file(weights, scratch / WEIGHTS, metadata={"format": "pt"})
        shutil.copyfile(own / "prompt.json", scratch / "prompt.json")

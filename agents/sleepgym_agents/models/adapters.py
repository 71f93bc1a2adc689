"""Models that are another model with an adapter of ours: merged once, kept in the cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sleepgym.core.errors import MissingData
from sleepgym.runs.models.base_model import model_digest
from sleepgym_agents.models.gguf_files import whole_folder

ADAPTERS = Path(__file__).parent  # a folder each: adapter.safetensors, card.json, prompt.json
FILES = "files"  # of such a folder
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"


def merge_adapter(base: Path, adapter: str, folder: Path, digest: str = "") -> None:
    """Write a base model with a LoRA adapter added to its weights as a folder of its own.

    The folder appears whole or not at all, and is the same, byte by byte, on every machine: boards
    tell a model by the digest of its files. Sums are taken in double precision, where those of
    bfloat16 factors are exact, and rounded once. What ``files/`` of the adapter holds stands in
    the place of the base's, which another version of transformers writes otherwise; its
    ``tokenizer.json`` lacks the words, which are the base's.

    Args:
        base: Folder of the base model, its weights in one file.
        adapter: Name of a folder beside this module.
        folder: Where the merged model goes.
        digest: What the digest of its files must be; empty for any.

    Raises:
        MissingData: If the adapter does not fit the base model, or comes out otherwise.
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
        if (own / FILES).is_dir():
            _lay_over(own / FILES, scratch)
        if digest and (found := model_digest(str(scratch))) != digest:
            raise MissingData(
                f"adapter {adapter} on {base}: the files come out as SHA-256 {found:.12}, must be "
                f"{digest:.12}: fetch {base.name} with --source index first"
            )


def _lay_over(files: Path, folder: Path) -> None:
    """Put files in the place of others; a tokenizer keeps its words."""
    words = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))["model"]
    shutil.copytree(files, folder, dirs_exist_ok=True)
    tokenizer = json.loads((files / TOKENIZER).read_text(encoding="utf-8"))
    tokenizer["model"] |= {name: words[name] for name in ("vocab", "merges")}
    text = json.dumps(tokenizer, indent=2, ensure_ascii=False)
    (folder / TOKENIZER).write_text(text, encoding="utf-8", newline="\n")

"""Which language model a run stood on, told by the bytes of its files."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

_SUFFIXES = (".safetensors", ".json")


@cache
def model_digest(model: str) -> str | None:
    """SHA-256 (hex) over names and bytes of a model's weights, tokenizer and configuration.

    Args:
        model: ``"embedded"`` or a folder.

    Returns:
        The digest; None for a model whose files are not at hand, such as a hub id.
    """
    folder = _embedded() if model == "embedded" else Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir(), key=lambda path: path.name):
        if file.suffix in _SUFFIXES and file.is_file():
            content = file.read_bytes()
            digest.update(f"{file.name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _embedded() -> Path:
    """The folder of the embedded model, found by name: boards import no agents."""
    return Path(str(resources.files("sleepgym_agents") / "base"))

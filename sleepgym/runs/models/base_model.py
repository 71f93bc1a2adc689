"""Which language model a run stands on, told by the bytes of its files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from sleepgym.runs.models.cache import cached_model

_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".tiktoken")
_NAMES = ("merges.txt", "vocab.txt")
_CHUNK_BYTES = 1 << 20
SERVED = "openai:"
KEYS = ("SLEEPGYM_API_KEY", "OPENAI_API_KEY")  # variables that may hold a server's key


def is_served(model: str) -> bool:
    """Whether a model's name is the address of a server: ``openai:URL#NAME``."""
    return model.startswith(SERVED)


def model_digest(model: str) -> str | None:
    """SHA-256 (hex) over names and bytes of a model's weights, tokenizer and configuration.

    Hashed anew only when a file's size or time has changed.

    Args:
        model: ``"embedded"``, a folder, a GGUF file, a fetched model, or another name that a run's
            ``--model`` may have.

    Returns:
        The digest; None for a model whose files are not at hand, such as a hub id or a server's.
    """
    folder = model_folder(model)
    if folder is None or not folder.exists():
        return None
    if folder.is_dir():
        files = sorted(folder.iterdir(), key=lambda path: path.name)
        files = [f for f in files if f.suffix in _SUFFIXES or f.name in _NAMES]
    else:
        files = [folder]  # one GGUF file
    stats = [(f, f.stat()) for f in files if f.is_file()]
    return _digest(tuple((file, s.st_size, s.st_mtime_ns) for file, s in stats))


@lru_cache(maxsize=16)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in files:
        digest.update(f"{path.name}\0{size}\0".encode())
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def model_folder(model: str) -> Path | None:
    """Where a model's files are; None for one that has none here."""
    if model == "scratch" or is_served(model):
        return None
    if model != "embedded":
        path = Path(model).expanduser()
        return path if path.exists() else cached_model(model)
    agents = find_spec("sleepgym_agents")  # found by name: the framework imports no agents
    places = agents.submodule_search_locations if agents else None
    return Path(next(iter(places))) / "base" if places else None

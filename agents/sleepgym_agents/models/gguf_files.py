"""GGUF files become plain folders: dequantised once, kept in the cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sleepgym.core.errors import MissingData
from sleepgym.runs.models.base_model import model_digest
from sleepgym.runs.models.cache import cache_folder


def converted(file: Path) -> Path:
    """The folder that a GGUF file was turned into; turned into one first if there is none yet.

    Raises:
        MissingData: If it cannot be read.
    """
    folder = cache_folder() / "gguf" / f"{file.stem}-{model_digest(str(file)):.16}"
    if not (folder / "config.json").is_file():
        convert(file, folder)
    return folder


def convert(file: Path, folder: Path) -> None:
    """Write a GGUF file's weights (float32), tokenizer and chat template as a folder.

    The folder appears whole or not at all.

    Raises:
        MissingData: If the package ``gguf`` is missing, the file is damaged or its architecture
            is one that transformers cannot read from GGUF.
    """
    if find_spec("gguf") is None:
        raise MissingData("GGUF files need the package gguf: pip install 'sleepgym[gguf]'")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
    except Exception as error:  # a damaged file raises whatever its reader raises
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise MissingData(
            f"cannot read GGUF file {file}: {reason:.300}; give the folder of its safetensors"
        ) from error
    config: Any = read.config
    if hasattr(config, "quantization_config"):  # it is quantised no longer
        del config.quantization_config
    plain = type(read)(config)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    with whole_folder(folder) as scratch:
        plain.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Within this context, a folder to fill; it takes its place when all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        yield scratch
        if folder.exists():
            shutil.rmtree(folder)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

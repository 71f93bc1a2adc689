"""The command that starts a process in bubblewrap: own root, no network, no other process.

Bubblewrap (https://github.com/containers/bubblewrap) is a small program that most distributions
have as ``bubblewrap``. Inside there are the system's libraries, Python, what may be imported, the
base model, all read-only (of the hub's cache its models, no data sets and no tokens), a scratch
folder in memory, and two folders shared with the run: the state to load, read-only, and one to save
into.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from sleepgym.core.errors import MissingData

STATE, SAVED, SCRATCH = "/state", "/saved", "/tmp"
MODEL, FETCHED, HUB = "/model", "/fetched", "/hub"  # as a path, a fetched one, one of the hub
VIEW = "/site-packages"
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
_SYSTEM += ("/etc/ld.so.cache", "/etc/alternatives")


@cache
def require_sandbox() -> None:
    """Check that sandboxes can be made here.

    Raises:
        MissingData: If bubblewrap is not installed, or the system does not let it make one.
    """
    remedy = "use --isolation process, or in-process"
    if shutil.which("bwrap") is None:
        raise MissingData(
            "isolation=sandbox needs bubblewrap, which is not installed "
            f"(apt-get install bubblewrap): install it, or {remedy}"
        )
    trial = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    result = subprocess.run(trial, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = " ".join(result.stderr.split())[:200]
        raise MissingData(
            f"isolation=sandbox: bubblewrap cannot make one here ({reason}): {remedy}"
        )


def strictest_isolation() -> Literal["sandbox", "process"]:
    """The strictest level that this machine has."""
    try:
        require_sandbox()
    except MissingData:
        return "process"
    return "sandbox"


def sandboxed(
    view: list[tuple[str, Path]], exchange: Path, others: Mapping[str, Path]
) -> list[str]:
    """A command line that starts Python in a sandbox of its own; its arguments may follow.

    Args:
        view: What may be imported, mounted at ``/site-packages``.
        exchange: Folder with ``state`` and ``saved``, mounted at ``/state`` and ``/saved``.
        others: Where to mount what else, read-only -> the folder or file.
    """
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev", "--tmpfs", SCRATCH]
    base = Path(sys.base_prefix).resolve()
    for path in dict.fromkeys((*_SYSTEM, str(base))):
        words += ["--ro-bind-try", path, path]
    for name in ("sleepgym_tasks", "sleepgym_boards", "sleepgym"):  # where they are installed there
        for place in map(Path, sys.path):
            if (place / name).is_dir() and _inside(place, (*_SYSTEM, str(base))):
                words += ["--tmpfs", str((place / name).resolve())]
    for gpu in sorted(Path("/dev").glob("nvidia*")):
        words += ["--dev-bind", str(gpu), str(gpu)]
    for name, path in view:
        words += ["--ro-bind", str(path.resolve()), f"{VIEW}/{name}"]
    words += ["--ro-bind", str(exchange / "state"), STATE, "--bind", str(exchange / "saved"), SAVED]
    for place, path in others.items():
        words += ["--ro-bind", str(path), place]
    return [*words, "--chdir", SCRATCH, "--", os.path.realpath(sys.executable)]


def _inside(place: Path, roots: tuple[str, ...]) -> bool:
    return any(Path(root) in (place, *place.resolve().parents) for root in roots)

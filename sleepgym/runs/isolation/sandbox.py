"""The command that starts a process in bubblewrap: own root, no network, no other process.

Bubblewrap (https://github.com/containers/bubblewrap) is a small program that most distributions
have as ``bubblewrap``. Inside there are the system's libraries, Python, what may be imported, the
base model, all read-only (of the hub's cache its models, no data sets and no tokens), a scratch
folder in memory of a bounded size, and two folders shared with the run: the state to load,
read-only, and one to save into. A checkout, the current folder or the data that lie among the
system's own folders, as in ``/usr/src``, are covered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from sleepgym.core.errors import MissingData
from sleepgym.runs.isolation.view import holds_libraries

STATE, SAVED, SCRATCH = "/state", "/saved", "/tmp"
MODEL, FETCHED, HUB = "/model", "/fetched", "/hub"  # as a path, a fetched one, one of the hub
VIEW = "/site-packages"
SCRATCH_BYTES = 4 << 30  # of the scratch folder, and of what processes share: both lie in memory
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
_SYSTEM += ("/etc/ld.so.cache", "/etc/alternatives")
_PACKAGES = ("sleepgym_tasks", "sleepgym_boards", "sleepgym")


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
    words += ["--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    for place in (SCRATCH, "/dev/shm"):
        words += [*(("--size", str(SCRATCH_BYTES)) if _knows_sizes() else ()), "--tmpfs", place]
    base = Path(sys.base_prefix).resolve()
    roots = dict.fromkeys((*_SYSTEM, str(base)))
    for path in roots:
        words += ["--ro-bind-try", path, path]
    for place in _covered(roots):
        words += ["--tmpfs", place, "--remount-ro", place]
    for gpu in sorted(Path("/dev").glob("nvidia*")):
        words += ["--dev-bind", str(gpu), str(gpu)]
    for name, path in view:
        words += ["--ro-bind", str(path.resolve()), f"{VIEW}/{name}"]
    words += ["--ro-bind", str(exchange / "state"), STATE, "--bind", str(exchange / "saved"), SAVED]
    for place, path in others.items():
        words += ["--ro-bind", str(path), place]
    for place in ("/dev", "/"):  # they lie in memory too
        words += ["--remount-ro", place]
    return [*words, "--chdir", SCRATCH, "--", os.path.realpath(sys.executable)]


def _covered(roots: Iterable[str]) -> list[str]:
    """Folders inside the roots of which a sandbox shows nothing.

    The framework, the tasks and the boards where they are installed; checkouts of them, whole; the
    current folder and that of the data. What holds Python itself cannot be covered.
    """
    places = [place.resolve() for place in map(Path, sys.path)]
    installed = [place / name for place in places for name in _PACKAGES]
    checkouts = [
        place
        for place in places
        if not holds_libraries(place) and any((place / name).is_dir() for name in _PACKAGES)
    ]
    others = [Path(folder).resolve() for folder in (".", os.environ.get("SLEEPGYM_DATA")) if folder]
    needed = [Path(os.path.realpath(sys.executable)), Path(os.__file__).resolve()]
    needed += [Path(root) for root in roots]
    found = {
        place
        for place in (*checkouts, *others, *installed)
        if place.is_dir()
        and any(Path(root) in place.parents for root in roots)
        and not any(path.is_relative_to(place) for path in needed)
    }
    return sorted(str(place) for place in found if not found & set(place.parents))


@cache
def _knows_sizes() -> bool:
    """Whether this bubblewrap bounds a folder in memory; before 0.7 it takes half of all memory."""
    told = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False)
    return "--size" in told.stdout + told.stderr

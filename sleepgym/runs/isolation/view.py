"""What an agent's process can import: its own package and the libraries, no tasks, no boards."""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

from sleepgym.core import registry

_OURS = ("sleepgym_tasks", "sleepgym_boards")
_LIBRARIES = re.compile(r"(site|dist)-packages$")


def import_view(agent: str, env: str) -> list[tuple[str, Path]]:
    """Name -> path of everything that may be imported, beside the standard library.

    The framework, everything that lies beside the agent's package, and the installed libraries;
    without the task families, the boards, and their metadata.

    Args:
        agent: Registered name or ``module:Class``.
        env: Environment id or ``module:Class``; its package is left out, unless it is the agent's.
    """
    own = registry.agent_package(agent)
    hidden = {*_OURS, registry.env_package(env)} - {own, "sleepgym"}
    found: dict[str, Path] = {}
    for place in map(Path, dict.fromkeys(entry or os.getcwd() for entry in sys.path)):
        if not place.is_dir() or _is_standard(place):
            continue
        names = [file.name for file in sorted(place.iterdir()) if _can_be_imported(file)]
        if not holds_libraries(place):
            if not {own, f"{own}.py"} & set(names):
                names = ["sleepgym"] if "sleepgym" in names else []
            names = [name for name in names if _is_code(place / name, hidden)]
        for name in names:
            stem = re.split(r"[.-]", name)[0]
            if stem not in hidden and not re.match(r"sleepgym-.*info$|__pycache__$", name):
                found.setdefault(name, place / name)
    return sorted(found.items())


def copy_view(view: list[tuple[str, Path]], folder: Path, own: str) -> None:
    """Lay out a view as a folder: what is ours and the agent's copied, libraries linked."""
    for name, path in view:
        if name.removesuffix(".py") in (own, "sleepgym") and path.is_dir():
            shutil.copytree(path, folder / name)
        elif name.removesuffix(".py") == own:
            shutil.copy2(path, folder / name)
        else:
            (folder / name).symlink_to(path)


def holds_libraries(place: Path) -> bool:
    """Whether libraries are installed in a folder: Python's own, or one of ``pip --target``."""
    return bool(_LIBRARIES.search(str(place))) or any(place.glob("*.dist-info"))


def _can_be_imported(file: Path) -> bool:
    """Whether it is a folder or a module; beside a command there may be its script."""
    return file.is_dir() or file.suffix in (".py", ".so", ".pth")


def _is_code(path: Path, hidden: Collection[str]) -> bool:
    """Whether it is no folder of something else, such as runs and the answers in them, or tasks."""
    holds_hidden = any((path / name).exists() for name in hidden)
    return not path.is_dir() or (any(path.glob("*.py")) and not holds_hidden)


def _is_standard(place: Path) -> bool:
    """Whether a folder is the standard library's."""
    paths = sysconfig.get_paths()
    standard = {Path(paths["stdlib"]), Path(paths["platstdlib"])}
    return place in standard or (place.parent in standard and place.name == "lib-dynload")

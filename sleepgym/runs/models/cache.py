"""Where fetched models are kept: outside every checkout and every environment."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``SLEEPGYM_CACHE``, else ``sleepgym`` in ``XDG_CACHE_HOME``, else in ``~/.cache``."""
    own = os.environ.get("SLEEPGYM_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "sleepgym"


def cached_model(name: str) -> Path | None:
    """The folder of a fetched model, if it was fetched under this name."""
    if not name or Path(name).name != name:  # a path, not a name
        return None
    folder = cache_folder() / "models" / name
    return folder if (folder / "config.json").is_file() else None

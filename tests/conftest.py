"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import data_files


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a miniature of every data set, to be given as ``data``; do not change it."""
    folder = tmp_path_factory.mktemp("data")
    data_files.write_all(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of original data files; skips where the user has not named one."""
    folder = os.environ.get("SLEEPGYM_DATA_REAL") or os.environ.get("SLEEPGYM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no original data: set SLEEPGYM_DATA to their folder")
    return Path(folder)

"""TOML files that people write: whatever is wrong with one is a line that names it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadData

_MARK = b"\xef\xbb\xbf"


def read_toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        BadData: If it is not TOML in UTF-8; says what is wrong, not where the file is.
    """
    return parse_toml(file.read_bytes())


def parse_toml(content: bytes) -> dict[str, Any]:
    """TOML as it stands in a file.

    Raises:
        BadData: If it is not TOML in UTF-8; says what is wrong.
    """
    if content.startswith(_MARK):
        raise BadData("it begins with a byte order mark (BOM): save it as UTF-8 without one")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadData(f"it is not UTF-8 at byte {error.start}: save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise BadData(str(error)) from error
    except RecursionError as error:
        raise BadData("its values are nested too deeply") from error

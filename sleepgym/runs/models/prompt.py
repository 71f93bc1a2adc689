"""How a run asks its model: chosen on the command line, recorded, and the same when resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sleepgym.core.errors import BadData, MissingData

VARIABLE = "SLEEPGYM_PROMPT"  # where whoever loads a model finds the choice
WORDS = ("plain", "template")


def read_prompt(given: str) -> str:
    """A choice of a prompt as it is recorded.

    Args:
        given: Empty (the model's own), ``plain``, ``template``, JSON text, or a file that holds it.

    Returns:
        Empty, one of the words, or JSON text in one line.

    Raises:
        MissingData: If there is no such file.
        BadData: If it does not hold a JSON object.
    """
    if given in ("", *WORDS):
        return given
    where, text = "prompt", given
    if not given.startswith("{"):
        where = str(Path(given).expanduser())
        try:
            text = Path(where).read_text(encoding="utf-8-sig")
        except OSError as error:
            words = ", ".join(WORDS)
            raise MissingData(
                f"prompt={given:.200}: no such file to read; give one like prompt.json, or {words}"
            ) from error
        except UnicodeError as error:
            raise BadData(f"{where}: not UTF-8 text") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: {error}") from error
    if not isinstance(values, dict):
        raise BadData(f"{where}: must be a JSON object, such as a model's prompt.json")
    return json.dumps(values)


def use_prompt(chosen: str) -> None:
    """Leave the choice where the models of this process are loaded from now on."""
    if chosen:
        os.environ[VARIABLE] = chosen
    else:
        os.environ.pop(VARIABLE, None)

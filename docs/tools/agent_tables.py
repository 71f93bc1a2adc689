"""Write the tables of agents from registry and classes: ``python docs/tools/agent_tables.py``.

``docs/reproduction.md`` is written whole; in the README what stands between two markers.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from sleepgym.core import registry

DOCS = Path(__file__).parents[1]
REPRODUCTION = DOCS / "reproduction.md"
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- agents -->", "<!-- /agents -->"
INTRO = """# What each agent was checked against

Written by `make docs` from the classes: `sources` and `checked`. Never more than was done.
"Property" means that a test holds the defining property and no figure of the source was reproduced.
Tests: `tests/agents/baselines/test_<agent>.py` and those named.

"""


def agent_table() -> str:
    """A row for every registered agent: its name, and what its register line says of it."""
    lines = ["| agent | what it is |", "|---|---|"]
    for name, entry in registry.agents.items():
        lines.append(f"| [`{name}`](docs/reference/{name}.md) | {entry.summary} |")
    return "\n".join(lines)


def reproduction() -> str:
    """The page of what was checked: a row for every agent whose class says so."""
    lines = ["| agent | source | what was checked |", "|---|---|---|"]
    for name in registry.agents:
        cls = registry.agent_class(name)
        if own(cls, "checked"):
            lines.append(f"| `{name}` | {own(cls, 'sources')} | {own(cls, 'checked')} |")
    return INTRO + "\n".join(lines) + "\n"


def own(cls: Any, name: str) -> str:
    """An attribute that the class states itself: a parent's was not said of it."""
    return vars(cls).get(name, "")


def filled(text: str) -> str:
    """A page with today's table of agents between its markers."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{agent_table()}\n{END}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    REPRODUCTION.write_text(reproduction())
    README.write_text(filled(README.read_text()))
    print(REPRODUCTION, README, sep="\n")

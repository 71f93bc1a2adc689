"""Write ``docs/reference`` from the registry and the docstrings: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from sleepgym import metrics, registry
from sleepgym.glossary import GLOSSARY
from sleepgym.registry import Entry
from sleepgym.settings import meanings

FOLDER = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name -> text, for every registered environment and agent."""
    texts = {"README.md": _index(), "metrics.md": _metrics()}
    for entry in registry.envs.values():
        texts[_file(entry)] = _page(entry, "Environment")
    for entry in registry.agents.values():
        texts[_file(entry)] = _page(entry, "Agent")
    return texts


def _index() -> str:
    lines = ["# Reference", "", "Written by `make docs` from the registry and the docstrings.", ""]
    lines += ["[Metrics](metrics.md)", ""]
    for title, table in (("Environments", registry.envs), ("Agents", registry.agents)):
        lines += [f"## {title}", "", "| name | what it is |", "|---|---|"]
        lines += [
            f"| [`{name}`]({_file(entry)}) | {entry.summary} |" for name, entry in table.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _metrics() -> str:
    lines = ["# Metrics", "", inspect.cleandoc(metrics.__doc__ or ""), ""]
    lines += ["| metric | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in GLOSSARY.items()]
    lines.append("| `accuracy_<kind>` | Accuracy on a kind of question on the last morning. |")
    lines.append("| `gap_<kind>` | `accuracy_direct` minus `accuracy_<kind>`. |")
    return "\n".join(lines) + "\n"


def _page(entry: Entry, kind: str) -> str:
    cls = entry.load()
    lines = [f"# `{entry.name}`", "", f"{kind}: {entry.summary}.", "", _text(cls), ""]
    use = (
        f'env = gymnasium.make("{entry.name}")'
        if kind == "Environment"
        else f"sleepgym run --agent {entry.name} --env ENV --out DIR"
    )
    lines += ["```", use, "```", ""]
    lines += ["## Settings", "", "| setting | default | meaning |", "|---|---|---|"]
    words = meanings(cls.Config)
    for field in fields(cls.Config):
        default = "" if field.default is MISSING else f"`{field.default!r}`"
        meaning = words.get(field.name, "").replace("|", "\\|")
        lines.append(f"| `{field.name}` | {default} | {meaning} |")
    presets = getattr(cls, "presets", {})
    if presets:
        lines += ["", "## Presets", "", "| preset | settings |", "|---|---|"]
        lines += [
            f"| `{name}` | {', '.join(f'`{k}={v}`' for k, v in values.items())} |"
            for name, values in presets.items()
        ]
    return "\n".join(lines) + "\n"


def _text(cls: Any) -> str:
    """The docstring of a class and, where it says more, of its module."""
    own = inspect.cleandoc(cls.__doc__ or "")
    module = inspect.cleandoc(inspect.getmodule(cls).__doc__ or "")  # pyright: ignore
    return f"{own}\n\n{module}" if "\n" in module else own


def _file(entry: Entry) -> str:
    return re.sub(r"[^\w-]+", "-", entry.name).lower() + ".md"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.md"):
        stale.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)

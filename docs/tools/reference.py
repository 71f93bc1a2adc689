"""Write pages from the registry and the docstrings: ``python docs/tools/reference.py``.

``docs/reference`` is written whole. In ``docs/agents`` what stands under "Results" is kept.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.registry import Entry
from sleepgym.core.settings import meanings, ranges
from sleepgym.scoring import metrics
from sleepgym.scoring.glossary import GLOSSARY

FOLDER = Path(__file__).parents[1] / "reference"
AGENTS = Path(__file__).parents[1] / "agents"
AGENT_PAGES = ("seeding", "dreaming", "sleep")
RESULTS = "## Results"


def pages() -> dict[str, str]:
    """File name -> text, for every registered environment and agent."""
    texts = {"README.md": _index(), "metrics.md": _metrics()}
    for entry in registry.envs.values():
        texts[_file(entry)] = _page(entry, "Environment")
    for entry in registry.agents.values():
        texts[_file(entry)] = _page(entry, "Agent")
    return texts


def agent_pages() -> dict[str, str]:
    """File name -> text of the pages about the paper's agents, their results as they are."""
    return {f"{name}.md": _agent_page(name) for name in AGENT_PAGES}


def _agent_page(name: str) -> str:
    entry = registry.agents[name]
    cls = entry.load()
    about, logs, _ = _sections(cls)
    lines = [f"# `{name}`", "", f"{about}", "", "## Usage", "", "```"]
    lines += [
        f"sleepgym run --agent {name} --env sleepgym/Almanac-v0 --seed 100 --out runs/{name}",
        "sleepgym suite ablation --dry-run",
        "```",
        "",
        f"Every setting: [reference](../reference/{_file(entry)}). A dreamer of your own: "
        "`sleepgym train-dreamer --help`.",
        "",
        "## What it logs",
        "",
        f"In `nights.jsonl` of a run: {logs}",
        "",
        "## Departures from the paper",
    ]
    lines += _departures(cls, name, set())
    file = AGENTS / f"{name}.md"
    kept = file.read_text().partition(RESULTS)[2] if file.exists() else "\n\nNone yet.\n"
    return "\n".join([*lines, "", RESULTS]) + kept


def _departures(owner: Any, name: str, seen: set[str]) -> list[str]:
    """The departures of a class or module, then of those that its docstring refers to, as Markdown.

    Args:
        owner: The class or module.
        name: Its name on the page.
        seen: Names that are on the page already; grows.
    """
    text = inspect.cleandoc(owner.__doc__ or "")
    if name in seen or "Departures:" not in text:
        return []
    seen.add(name)
    lines = ["", f"Of `{name}`:", "", _plain(_after(text, "Departures:"))]
    for kind, target in re.findall(r":(mod|class):`([\w.]+)`", text):
        module, _, attribute = target.rpartition(".") if kind == "class" else (target, "", "")
        other = importlib.import_module(module)
        if attribute:
            other, target = getattr(other, attribute), attribute.lower()
        lines += _departures(other, target, seen)
    return lines


def _sections(cls: Any) -> tuple[str, str, str]:
    """What a class's docstring says about it, its logs and its departures, as Markdown."""
    text = inspect.cleandoc(cls.__doc__ or "")
    about, _, rest = text.partition("\nDepartures:")
    about, _, logs = about.partition("\nLogs: ")
    return _plain(about), _plain(logs), _plain(_after(f"Departures:{rest}", "Departures:"))


def _after(text: str, heading: str) -> str:
    return inspect.cleandoc(text.partition(heading)[2])


def _plain(text: str) -> str:
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").strip()


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
    lines = ["# Metrics", "", _plain(inspect.cleandoc(metrics.__doc__ or "")), ""]
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
    lines += ["```", use, "```", "", f"Class: `{entry.entry_point}`", ""]
    lines += ["## Settings", "", "| setting | default | range | meaning |"]
    lines.append("|---|---|---|---|")
    words, limits = meanings(cls.Config), ranges(cls.Config)
    for field in fields(cls.Config):
        default = "" if field.default is MISSING else f"`{field.default!r}`"
        meaning = _plain(words.get(field.name, "")).replace("|", "\\|")
        lines.append(f"| `{field.name}` | {default} | {limits.get(field.name, '')} | {meaning} |")
    presets = getattr(cls, "presets", {}) or getattr(cls.Config, "presets", {})
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
    return _headed(_plain(f"{own}\n\n{module}" if "\n" in module else own))


def _headed(text: str) -> str:
    """Sections of a docstring, indented under their names, as Markdown reads them."""
    section = re.compile(r"^(\w+):\n((?:(?: {4}.*)?(?:\n|\Z))+)", re.MULTILINE)
    return section.sub(lambda it: f"**{it[1]}**\n\n{inspect.cleandoc(it[2])}\n\n", text).strip()


def _file(entry: Entry) -> str:
    return re.sub(r"[^\w-]+", "-", entry.name).lower() + ".md"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.md"):
        stale.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(FOLDER / name)
    AGENTS.mkdir(exist_ok=True)
    for name, text in agent_pages().items():
        (AGENTS / name).write_text(text)
        print(AGENTS / name)

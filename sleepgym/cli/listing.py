"""Names of environments, agents, suites and boards, and a page about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from sleepgym.cli.boards import boards, load_board
from sleepgym.cli.console import console
from sleepgym.core import registry
from sleepgym.core.errors import unknown_name
from sleepgym.core.settings import meanings, ranges
from sleepgym.suite.suite import load_suite, suite_names
from sleepgym.suite.tuned import in_words

KINDS = ("envs", "agents", "suites", "boards")


def show_names(kinds: Sequence[str] = KINDS) -> None:
    """Print the registered names of each kind with one line about each."""
    rows = {
        "envs": lambda: [(entry.name, entry.summary) for entry in registry.envs.values()],
        "agents": lambda: [(entry.name, entry.summary) for entry in registry.agents.values()],
        "suites": lambda: [(name, load_suite(name).summary) for name in suite_names()],
        "boards": lambda: [(board.name, _board_summary(board)) for board in boards().load_boards()],
    }
    for kind in kinds:
        table = Table(title=kind, title_justify="left", box=None, show_header=False, pad_edge=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for name, summary in sorted(rows[kind]()):
            table.add_row(name, summary)
        console.print(table)
        console.print()
    console.print("Settings and defaults of one: sleepgym list NAME", style="dim", highlight=False)


def show_page(name: str, kinds: Sequence[str] = KINDS) -> None:
    """Print the page of the environment, agent, suite or board of a name; of all that bear it.

    Raises:
        UnknownName: If there is none; names the nearest.
    """
    names: dict[str, Callable[[], Iterable[str]]] = {
        "envs": lambda: registry.envs,
        "agents": lambda: registry.agents,
        "suites": suite_names,
        "boards": lambda: boards().board_names(),
    }
    pages = {"envs": _env_page, "agents": _agent_page, "suites": _suite_page, "boards": _board_page}
    found = [kind for kind in kinds if name in names[kind]()]
    if not found:
        known = [other for kind in kinds for other in names[kind]()]
        what = kinds[0].removesuffix("s") if len(kinds) == 1 else "name"
        raise unknown_name(what, name, known)
    for kind in found:
        pages[kind](name)


def _env_page(name: str) -> None:
    cls = registry.envs[name].load()
    _line(f"environment {name}: {registry.envs[name].summary}")
    _line(f"class {registry.envs[name].entry_point}")
    _settings(cls.Config)
    for preset, settings in cls.presets.items():
        _line(f"preset={preset}: {in_words(settings)}")
    _line(f"Run it: sleepgym run --env {name} --agent frozen --out runs/first")


def _agent_page(name: str) -> None:
    _line(f"agent {name}: {registry.agents[name].summary}")
    _line(f"class {registry.agents[name].entry_point}")
    _settings(registry.agents[name].load().Config)
    _line(f"Run it: sleepgym run --agent {name} --env sleepgym/Almanac-v1 --out runs/{name}")


def _suite_page(name: str) -> None:
    from sleepgym.scoring.comparisons import seed_ranges

    suite = load_suite(name)
    _line(f"suite {name}: {suite.summary}")
    tuned = "; tuned settings" if suite.tuned else ""
    _line(f"seeds {seed_ranges(suite.seeds)}; model {suite.model}{tuned}")
    for part in (*suite.envs, *suite.agents):
        where = f" (on {', '.join(part.envs)})" if part.envs else ""
        shown = f": {in_words(part.settings)}" if part.settings else ""
        called = "" if part.label == part.id else f"{part.label} = "
        _line(f"  {called}{part.id}{shown}{where}")
    _line(f"What it would run: sleepgym suite {name} --dry-run")


def _board_summary(board: Any) -> str:
    newer = board.superseded_by
    return f"{board.summary} (superseded by {newer})" if newer else board.summary


def _board_page(name: str) -> None:
    board = load_board(name)
    _line(f"board {name}: {board.summary}")
    if board.superseded_by:
        _line(f"superseded by board {board.superseded_by}")
    _line(f"environment {board.environment.id}, {board.environment.exams} exams")
    _line(f"  {in_words(board.environment.settings)}")
    seeds = board.seeds or f"{board.seal.count} sealed seeds"
    model = board.base_model.spec if board.base_model else "any"
    _line(f"seeds {seeds}; model {model}; ranked by {board.headline.replace('_', ' ')}")
    for budget in board.budgets:
        limits = budget.model_dump(exclude={"name", "summary"}, exclude_none=True)
        kinds = limits.pop("state_bytes")
        limits |= {f"state_{kind}_bytes": limit for kind, limit in kinds.items()}
        a_day = [name for name in limits if not name.startswith("night_")]
        limits = {f"{k} a day" if k in a_day else k: limit for k, limit in limits.items()}
        _line(f"budget class {budget.name}: {budget.summary}")
        shown = {k: f"{v:g}" if isinstance(v, float) else v for k, v in limits.items()}
        _line(f"  {in_words(shown)}" if shown else "  no limit")
    for rule in board.rules:
        _line(f"rule: {rule}")
    _line(f"Run it: sleepgym run --board {name} --agent AGENT --out runs/{name}")


def _settings(config: Any) -> None:
    if not fields(config):
        _line("It has no settings.")
        return
    table = Table(
        Column("setting", overflow="fold"),
        Column("default", overflow="fold"),
        Column("range", overflow="fold"),
        "meaning",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    words, limits = meanings(config), ranges(config)
    for field in fields(config):
        default = "required" if field.default is MISSING else str(field.default)
        cells = (default, limits.get(field.name, ""), words.get(field.name, ""))
        table.add_row(field.name, *map(escape, cells))
    console.print(table)


def _line(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)

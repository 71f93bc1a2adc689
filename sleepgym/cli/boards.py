"""What the framework asks of boards; it finds them by name, as it finds agents and tasks."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from sleepgym.core.errors import BadSetting
from sleepgym.scoring.comparisons import seed_ranges

_STATE_KINDS = ("weights", "keys", "text")


def boards() -> Any:
    """The module of boards: ``board_names``, ``load_board``, ``load_boards``."""
    return importlib.import_module("sleepgym_boards.board")


def load_board(name: str) -> Any:
    """A board by name, or from a TOML file.

    Raises:
        UnknownName: If there is no such board.
    """
    return boards().load_board(name)


def board_env_settings(board: Any) -> dict[str, Any]:
    """Its environment's settings, its exams, and the limits of its widest budget class.

    The board checks every class again when a submission is verified; here limits tell an agent
    when to stop.
    """
    settings = dict(board.environment.settings)
    return {**settings, "exams": board.environment.exams, **_limits(board, settings)}


def board_seeds(board: Any, wanted: Sequence[int] | None = None) -> tuple[int, ...]:
    """The seeds of a board, or those of them that are wanted.

    Raises:
        BadSetting: If the board is sealed, or a wanted seed is not of the board.
    """
    seeds = board.public_seeds()
    if seeds is None:
        raise BadSetting(f"board {board.name} is sealed: its seeds are not known yet")
    strangers = sorted(set(wanted or ()) - set(seeds))
    if strangers:
        raise BadSetting(
            f"seeds={seed_ranges(strangers)}: board {board.name} has seeds {seed_ranges(seeds)}"
        )
    return tuple(wanted or seeds)


def board_model(board: Any, wanted: str | None) -> str:
    """The model of a board's runs.

    Raises:
        BadSetting: If another is wanted than the board's.
    """
    rule = board.base_model
    if rule is None:
        return wanted or "embedded"
    if wanted not in (None, rule.spec):
        raise BadSetting(f"model={wanted}: board {board.name} is run with --model {rule.spec}")
    return rule.spec


def _limits(board: Any, settings: Mapping[str, Any]) -> dict[str, float]:
    widest = board.budgets[-1]
    days = settings.get("days", 1)
    state = [getattr(widest.state_bytes, kind) for kind in _STATE_KINDS]
    limits = {
        "night_seconds": widest.night_seconds,
        "night_flops": widest.night_flops,
        "added_parameters": _times(widest.added_parameters, days),
        "state_bytes": None if None in state else _times(sum(state), days),
    }
    return {name: value for name, value in limits.items() if value is not None}


def _times(limit: float | None, days: int) -> int | None:
    return None if limit is None else int(limit * days)

"""A toy board, runs for it, and submissions of them to be tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.suite import parse_seeds
from sleepgym_boards.board import Board, load_board
from sleepgym_boards.packing import pack
from sleepgym_boards.submission.files import compress, decompress, dump
from sleepgym_boards.submission.schema import Run, run_digest
from sleepgym_boards.verification.verdict import Verdict

BOARD = """
version = 2
title = "Toy"
summary = "three days of a toy"
seeds = "100-104"
headline = "average_accuracy"
tie_breaks = ["state_bytes"]
unseen_ceiling = 0.2
rules = ["Play fair."]

[environment]
id = "toy:Toy"
exams = "full"
settings = { days = 3, facts = 2 }

[[budgets]]
name = "numbers"
summary = "tensors"
night_flops = 1e9
state_bytes = { weights = 2000, keys = 0, text = 5 }

[[budgets]]
name = "notes"
summary = "a small text"
night_flops = 10000.0
state_bytes = { weights = 0, keys = 0, text = 100 }
"""
CARD = """
name = "Notes"
summary = "Writes down what it reads."
authors = ["A. Tester"]
code = "https://example.org/notes"
commit = "0123abc"
data = "none"
pretraining = "none"
tuning_seeds = "0-4,17"
departures = "none"
"""


def write_board(folder: Path, text: str = BOARD) -> Board:
    file = folder / "toy.toml"
    file.write_text(text)
    return load_board(str(file))


def write_card(folder: Path, text: str = CARD) -> Path:
    file = folder / "card.toml"
    file.write_text(text)
    return file


def make_runs(agent: str, out: Path, seeds=range(100, 105), **settings: Any) -> Path:
    for seed in seeds:
        spec = RunSpec("toy:Toy", f"board_agents:{agent}", seed=seed, **settings)
        run(spec, out / f"seed-{seed}")
    return out


def packed(
    agent: str, folder: Path, seeds: str = "100-104", **settings: Any
) -> tuple[bytes, Board]:
    """A submission file of an agent's runs, and its board."""
    board = write_board(folder, BOARD.replace("100-104", seeds))
    runs = make_runs(agent, folder / "runs", parse_seeds(seeds), **settings)
    return compress(dump(pack([runs], board, write_card(folder)))), board


def edited(content: bytes, change: Callable[[dict[str, Any]], None], sign: bool = True) -> bytes:
    """A file whose content was changed; ``sign`` gives changed runs a new digest, as a liar would.

    The change may break the schema; it is then written as it is.
    """
    plain = json.loads(decompress(content))
    change(plain)
    for changed in plain["runs"] if sign else ():
        changed["digest"] = run_digest(Run.model_validate(changed))
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"
    return compress(text.encode())


def broken(verdict: Verdict) -> list[str]:
    """The names of the rules that do not hold."""
    return [rule.rule for rule in verdict.rules if rule.ok is False]


def phases(plain: dict[str, Any], name: str, run: int = 0) -> list[dict[str, Any]]:
    return [phase for phase in plain["runs"][run]["phases"] if phase["phase"] == name]

"""ARC-AGI-1 (F. Chollet 2019, arXiv:1911.01547; Apache-2.0) in its Kaggle-style JSON.

``*_challenges.json`` is an object task id -> ``{"train": [{"input", "output"}], "test":
[{"input"}]}``, ``*_solutions.json`` an object task id -> list of outputs, one a test input. A grid
is a list of rows, all of one length, of whole numbers 0-9; a side is at most 30.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from sleepgym_tasks.data.parsing import as_fields, as_list, bad, read_json
from sleepgym_tasks.worlds.grids import Grid

LARGEST = 30


class Task(NamedTuple):
    """A task: demonstrations, and inputs with the outputs that solve them."""

    id: str
    train: tuple[tuple[Grid, Grid], ...]
    test: tuple[tuple[Grid, Grid], ...]


def parse(challenges: Path, solutions: Path) -> tuple[Task, ...]:
    """The tasks of a pair of files, in file order.

    Raises:
        BadData: If a grid is malformed, or the files do not fit together.
    """
    asked, solved = (_by_id(path) for path in (challenges, solutions))
    if missing := sorted(set(asked) - set(solved)):
        raise bad(solutions, f"no solution of this task of {challenges.name}", missing[0])
    tasks = []
    for name, value in asked.items():
        train, test = as_fields(value, ("train", "test"), challenges, name)
        pairs = []
        for number, pair in enumerate(as_list(train, challenges, name, "train")):
            place = f"{name}.train[{number}]"
            both = as_fields(pair, ("input", "output"), challenges, place)
            pairs.append(tuple(_grid(g, challenges, place) for g in both))
        inputs = []
        for number, pair in enumerate(as_list(test, challenges, name, "test")):
            place = f"{name}.test[{number}]"
            (grid,) = as_fields(pair, ("input",), challenges, place)
            inputs.append(_grid(grid, challenges, place))
        outputs = as_list(solved[name], solutions, name)
        if len(outputs) != len(inputs):
            raise bad(solutions, f"{len(outputs)} outputs for {len(inputs)} test inputs", name)
        answers = [_grid(g, solutions, f"{name}[{n}]") for n, g in enumerate(outputs)]
        tasks.append(Task(name, tuple(pairs), tuple(zip(inputs, answers, strict=True))))
    return tuple(tasks)


def _by_id(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise bad(path, "not an object of tasks by id (ARC-AGI-1's Kaggle-style layout)")
    return content


def _grid(value: Any, path: Path, record: str) -> Grid:
    rows = as_list(value, path, record, "a grid")
    for row in rows:
        as_list(row, path, record, "a row of a grid")
        if len(row) != len(rows[0]):
            raise bad(path, f"rows of {len(rows[0])} and {len(row)} cells in a grid", record)
        for cell in row:
            if isinstance(cell, bool) or not isinstance(cell, int) or not 0 <= cell <= 9:
                raise bad(path, f"a cell is {cell!r:.20}, not a whole number 0-9", record)
    if max(len(rows), len(rows[0])) > LARGEST:
        raise bad(path, f"a grid of {len(rows)} x {len(rows[0])}: at most {LARGEST} a side", record)
    return tuple(tuple(row) for row in rows)

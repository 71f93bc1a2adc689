"""Few-shot abstract reasoning: infer a rule on grids from demonstrations, keep it overnight.

ARC-AGI-1 (F. Chollet 2019, arXiv:1911.01547) in the subsets that SEAL picked for a 1B model (A.
Zweiger et al. 2025, arXiv:2506.10943), which the paper "Language Models Need Sleep" follows; and
invented puzzles, from 3 x 3 up to 10 x 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Interval

from sleepgym import Day, Item, Settings, Stream, TaskFamily
from sleepgym.core.errors import BadData, BadSetting
from sleepgym.core.settings import plain
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.sources import locate
from sleepgym_tasks.datasets.arc_files import Task, parse
from sleepgym_tasks.worlds.grids import LARGEST, Grid, invent
from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.seeds import derive

Rule = Literal["rotation", "flip", "recolouring", "counting", "symmetry"]
# Task ids and the indices of the test pairs that SEAL's figures rest on: eleven training instances
# over ten ids, nine evaluation instances over eight ids.
SEAL: dict[str, dict[str, tuple[int, ...]]] = {
    "training": {
        "6150a2bd": (0,),
        "8d5021e8": (0,),
        "5614dbcf": (0,),
        "8be77c9e": (0,),
        "4be741c5": (0,),
        "6d0aefbc": (0,),
        "44f52bb0": (0, 1),
        "67e8384a": (0,),
        "6e02f1e3": (0,),
        "5582e5ca": (0,),
    },
    "evaluation": {
        "903d1b4a": (0,),
        "c7d4e6ad": (0,),
        "66e6c45b": (0,),
        "ce8d95cc": (0,),
        "b1fc8b8e": (0, 1),
        "59341089": (0,),
        "bc4146bd": (0,),
        "68b67ca3": (0,),
    },
}


@dataclass(frozen=True)
class FewShotARCConfig(Settings):
    """Settings of :class:`FewShotARC`.

    Attributes:
        dataset: ``invented`` (no files), or the ``training`` or ``evaluation`` tasks of ARC-AGI-1.
        tasks: ``all`` of the data set, or ``seal``: those behind SEAL's figures (eleven training
            instances, eight evaluation tasks), refused where the files lack one.
        days: Days of the stream; where None, as many as the tasks allow, and 6 of invented ones.
        tasks_per_day: Tasks a day.
        rules: Invented tasks: kinds of rules, taken in turn.
        demonstrations: Invented tasks: demonstrations of a task.
        tests: Invented tasks: inputs to solve, a task.
        largest_side: Invented tasks: longest side of a grid on the last day; the first day has
            grids of 3 x 3, and those between grow evenly.
    """

    dataset: Literal["invented", "training", "evaluation"] = "invented"
    tasks: Literal["all", "seal"] = "all"
    days: Annotated[int, Ge(1)] | None = None
    tasks_per_day: Annotated[int, Ge(1)] = 1
    rules: tuple[Rule, ...] = get_args(Rule)
    demonstrations: Annotated[int, Interval(ge=1, le=10)] = 4
    tests: Annotated[int, Interval(ge=1, le=10)] = 2
    largest_side: Annotated[int, Interval(ge=3, le=LARGEST)] = LARGEST

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rules:
            raise ValueError(f"rules is empty: name some of {', '.join(get_args(Rule))}")
        if self.tasks == "seal" and self.dataset == "invented":
            raise ValueError("tasks=seal needs dataset=training or evaluation, not invented")


class FewShotARC(TaskFamily):
    """See a task's demonstrations one by one; solve its held-out inputs, now and after the night.

    PRACTICE comes in rounds, as in Codebook: round r asks for the output of demonstration r of
    every task of the day and then shows it (kind ``after-r``). The exam asks for the outputs of
    held-out inputs; its kind is the rule of an invented task and ``held-out`` for ARC. A question
    names its task, so that the morning can ask without the demonstrations.

    A grid is written in one line, rows between slashes (``1 6 6 / 5 2 2``). An answer is right
    where it is that grid, cell by cell; line breaks, commas, JSON lists and missing spaces are
    read too.

    SEAL and the paper report the share of five attempts that solve a task. An attempt is a run: the
    presets ``seal-training`` and ``seal-evaluation`` with seeds 0-4 are five attempts, and their
    mean ``learning_accuracy`` is that share, except that a run goes through the tasks in sequence
    with one agent and SEAL starts each from the same model.
    """

    Config = FewShotARCConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "small": {"days": 3, "largest_side": 4, "rules": ("recolouring", "flip")},
        "seal-training": {"dataset": "training", "tasks": "seal"},
        "seal-evaluation": {"dataset": "evaluation", "tasks": "seal"},
    }

    config: FewShotARCConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the files are not at hand.
            BadData: If they are malformed, or lack a task that the configuration names.
            BadSetting: If there are not enough tasks.
        """
        config = self.config
        if config.dataset == "invented":
            total = config.days or 6
            tasks = self._invented(seed, total)
        else:
            tasks = shuffled(self._published(), seed, "tasks")
            total = config.days or len(tasks) // config.tasks_per_day
        wanted = total * config.tasks_per_day
        if not total or wanted > len(tasks):
            raise BadSetting(
                f"days={config.days} with tasks_per_day={config.tasks_per_day} of FewShotARC:"
                f" needs {max(wanted, config.tasks_per_day)} tasks, and there are {len(tasks)}"
            )
        items = ItemFactory()
        days = tuple(
            _day(
                number, tasks[(number - 1) * config.tasks_per_day :][: config.tasks_per_day], items
            )
            for number in range(1, total + 1)
        )
        return Stream("FewShotARC", plain(config), seed, days, key=items.key())

    def score(self, answer: str, target: str) -> float:
        """1.0 where the answer is the grid, cell by cell."""
        grid = read_grid(answer)
        return float(grid is not None and grid == read_grid(target))

    def _invented(self, seed: int, total: int) -> list[tuple[str, Task]]:
        config = self.config
        names = Register(derive(seed, "few-shot", "names"))
        growth = (config.largest_side - 3) / max(1, total - 1)
        tasks = []
        for place in range(total * config.tasks_per_day):
            rng = derive(seed, "few-shot", place)
            rule = config.rules[place % len(config.rules)]
            side = 3 + round(growth * (place // config.tasks_per_day))
            puzzle = invent(rng, rule, side, config.demonstrations, config.tests)
            name = names.fresh("river").lower()
            tasks.append((rule, Task(name, puzzle.train, puzzle.test)))
        return tasks

    def _published(self) -> list[tuple[str, Task]]:
        part = self.config.dataset
        challenges, solutions = (
            locate("arc_agi_1", f"arc-agi_{part}_{what}.json", self.data)
            for what in ("challenges", "solutions")
        )
        tasks = parse(challenges, solutions)
        if self.config.tasks == "all":
            return [("held-out", task) for task in tasks]
        by_id = {task.id: task for task in tasks}
        chosen = []
        for name, places in SEAL[part].items():
            if name not in by_id or len(by_id[name].test) <= max(places):
                raise BadData(f"{challenges}: lacks the task {name}, which tasks=seal names")
            tests = tuple(by_id[name].test[place] for place in places)
            chosen.append(("held-out", by_id[name]._replace(test=tests)))
        return chosen


def write_grid(grid: Grid) -> str:
    """``((1, 6), (5, 2))`` -> ``"1 6 / 5 2"``."""
    return " / ".join(" ".join(map(str, row)) for row in grid)


def read_grid(text: str) -> Grid | None:
    """The grid that a text writes, in rows or as JSON; None where it is none."""
    text = text.strip()
    if text.startswith("["):
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            return None
        text = " / ".join(" ".join(map(str, row)) for row in rows)
    rows = [re.sub(r"[\s,]+", "", row) for row in re.split(r"[/\n|;]", text)]
    if not all(re.fullmatch(r"[0-9]+", row) for row in rows):
        return None
    grid = tuple(tuple(map(int, row)) for row in rows)
    return grid if len({len(row) for row in grid}) == 1 else None


def _day(number: int, tasks: Sequence[tuple[str, Task]], items: ItemFactory) -> Day:
    def item(task: Task, what: str, pair: tuple[Grid, Grid], kind: str) -> Item:
        given, output = (write_grid(grid) for grid in pair)
        text = f"Task {task.id}: {given}"
        return items.make(f"d{number}/{task.id}/{what}", text, (output,), kind, number)

    rounds = max(len(task.train) for _, task in tasks)
    practice = tuple(
        tuple(
            item(task, f"shown-{r}", task.train[r], f"after-{r}")
            for _, task in tasks
            if r < len(task.train)
        )
        for r in range(rounds)
    )
    exam = tuple(
        item(task, f"test-{t}", pair, kind)
        for kind, task in tasks
        for t, pair in enumerate(task.test)
    )
    return Day(number, practice=practice, exam=exam)

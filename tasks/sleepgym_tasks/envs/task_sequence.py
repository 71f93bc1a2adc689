"""One classification task after another, in any order: the continual-learning suite of O-LoRA.

X. Wang et al. 2023 (arXiv:2310.14152), task orders after A. Razdaibiedina et al., "Progressive
Prompts", ICLR 2023 (arXiv:2301.12314). A day is a task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sleepgym import Day, Item, Settings, Stream, TaskFamily
from sleepgym.core import grading
from sleepgym.core.settings import plain
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.datasets.labelled import Row
from sleepgym_tasks.datasets.olora import Classification, load

_LONG = ("imdb", "sst-2", "dbpedia", "agnews")


@dataclass(frozen=True)
class TaskSequenceConfig(Settings):
    """Settings of :class:`TaskSequence`.

    Attributes:
        tasks: Tasks, by day: dbpedia, agnews, yahoo, amazon, yelp, imdb, sst-2, mnli, cb, rte,
            boolqa, copa, wic, qqp, multirc, or any folder of CL_Benchmark as ``GROUP/NAME``.
        order: ``given`` takes them as named, ``shuffled`` in an order drawn by the seed.
        train_per_task: Sentences to practise on, a task, as even over labels as the files allow;
            all where None.
        tests_per_task: Sentences of an exam, drawn likewise; all where None.
        prompt: Whether the source's prompt stands before a sentence.
    """

    tasks: tuple[str, ...] = ("dbpedia", "boolqa", "copa", "mnli")
    order: Literal["given", "shuffled"] = "given"
    train_per_task: Annotated[int, Ge(1)] | None = 80
    tests_per_task: Annotated[int, Ge(1)] | None = 40
    prompt: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks:
            raise ValueError("tasks is empty: name at least one")
        if len({task.lower() for task in self.tasks}) < len(self.tasks):
            raise ValueError(f"tasks={','.join(self.tasks)} names a task twice")


class TaskSequence(TaskFamily):
    """Practise one task a day, be examined on all so far; labels are chosen by likelihood.

    PRACTICE is one round of training sentences, each followed by its label. A question is the
    source's prompt and the sentence; its choices are the labels of its own task, so that the task
    is known (task-incremental; ``ClassIncremental`` is the harder setting). The kind is the task's
    name. The seed draws the sentences and their order.

    The presets ``order-1`` to ``order-6`` are those of O-LoRA, with 1,000 training sentences a task
    and 500 tests; it uses all 7,600 test records where there are so many.
    """

    Config = TaskSequenceConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "small": {"tasks": ("copa", "boolqa"), "train_per_task": 16, "tests_per_task": 10},
        **{
            f"order-{number}": {"tasks": tasks, "train_per_task": 1000, "tests_per_task": 500}
            for number, tasks in enumerate(
                (
                    ("dbpedia", "amazon", "yahoo", "agnews"),
                    ("dbpedia", "amazon", "agnews", "yahoo"),
                    ("yahoo", "amazon", "agnews", "dbpedia"),
                    (
                        *("mnli", "cb", "wic", "copa", "qqp", "boolqa", "rte", "imdb", "yelp"),
                        *("amazon", "sst-2", "dbpedia", "agnews", "multirc", "yahoo"),
                    ),
                    (
                        *("multirc", "boolqa", "wic", "mnli", "cb", "copa", "qqp", "rte"),
                        *(*_LONG, "yelp", "amazon", "yahoo"),
                    ),
                    (
                        *("yelp", "amazon", "mnli", "cb", "copa", "qqp", "rte"),
                        *(*_LONG, "yahoo", "multirc", "boolqa", "wic"),
                    ),
                ),
                start=1,
            )
        },
    }

    config: TaskSequenceConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            UnknownName: If a task is not known.
            MissingData: If its files are not at hand.
            BadData: If a file is malformed.
        """
        names = self.config.tasks
        if self.config.order == "shuffled":
            names = tuple(shuffled(names, seed, "tasks"))
        tasks = [load(name, self.data) for name in names]
        items = ItemFactory()
        days = tuple(self._day(number, task, seed, items) for number, task in enumerate(tasks, 1))
        return Stream("TaskSequence", plain(self.config), seed, days, key=items.key())

    def score(self, answer: str, target: str) -> float:
        """1.0 for the right label, letter by letter."""
        return grading.choice(answer, target)

    def _day(self, number: int, task: Classification, seed: int, items: ItemFactory) -> Day:
        def asked(
            rows: dict[str, tuple[Row, ...]], most: int | None, part: str
        ) -> tuple[Item, ...]:
            drawn = _balanced(rows, most, seed, task.name, part)
            return tuple(
                items.make(
                    f"{task.name}/{row.id}",
                    f"{task.prompt}\n{row.text}"
                    if self.config.prompt and task.prompt
                    else row.text,
                    (label,),
                    task.name,
                    number,
                    task.labels,
                )
                for label, row in shuffled(drawn, seed, "order", task.name, part)
            )

        practice = asked(task.train, self.config.train_per_task, "train")
        exam = asked(task.test, self.config.tests_per_task, "test")
        return Day(number, practice=(practice,), exam=exam)


def _balanced(
    rows: dict[str, tuple[Row, ...]], most: int | None, seed: int, task: str, part: str
) -> list[tuple[str, Row]]:
    """At most ``most`` rows, one label after another until it has no more."""
    queues = {label: shuffled(own, seed, part, task, label) for label, own in rows.items()}
    turns = max(len(own) for own in queues.values())
    taken = [
        (label, own[turn])
        for turn in range(turns)
        for label, own in queues.items()
        if turn < len(own)
    ]
    return taken[:most]

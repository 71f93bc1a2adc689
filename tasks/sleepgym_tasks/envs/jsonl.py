"""One's own data: documents and questions in two files, without a line of Python.

``questions.jsonl`` and either ``documents.jsonl`` or text files lie in the folder that ``--data``
names, and ``exemplars.jsonl`` where agents are to be shown any; ``sleepgym data check DIR`` names
every bad record. The page ``docs/tasks/jsonl.md`` leads from an empty folder to a report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sleepgym import Day, Document, Item, Stream, TaskFamily
from sleepgym.core.errors import BadData, BadSetting
from sleepgym.core.settings import plain
from sleepgym.core.types import Experience
from sleepgym_tasks.data.grades import GRADES
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.shots import ShotSettings, exemplar, introduce
from sleepgym_tasks.data.sources import data_folder
from sleepgym_tasks.datasets.own_files import EXEMPLARS, HOLDS, Asked, OwnData, load

_INSTRUCTION = "Answer each question with a word or a few words, and nothing else."


@dataclass(frozen=True)
class JsonlConfig(ShotSettings):
    """Settings of :class:`Jsonl`.

    Attributes:
        days: Days of the stream, from the first; all in the files where None.
        questions_per_day: Most exam questions a day, drawn by the seed; all where None.
        metric: How a free answer is graded: ``exact`` and ``f1`` as SQuAD v1.1's evaluation
            normalises, ``contained`` where the answer holds it, ``literal`` letter by letter,
            ``chrf``. A question with choices is graded alike.
        order: ``shuffled`` draws the order of a day's exam by the seed, ``file`` keeps that of the
            file (then the seed changes the exams of mornings alone).
    """

    days: Annotated[int, Ge(1)] | None = None
    questions_per_day: Annotated[int, Ge(1)] | None = None
    metric: Literal["exact", "f1", "contained", "literal", "chrf"] = "exact"
    order: Literal["shuffled", "file"] = "shuffled"


class Jsonl(TaskFamily):
    """Documents and questions of your own, by day.

    Kinds are those of the file (``direct`` where it names none). Questions of day 0 are about what
    was known before, and are asked every morning. The seed draws the order of each day's exam, and
    which questions are asked where ``questions_per_day`` limits them. Exemplars are the first
    ``shots`` records of ``exemplars.jsonl``.
    """

    Config = JsonlConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "long": {"exams": "spaced"},
    }

    config: JsonlConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If no folder is named.
            BadData: If a record is bad; nothing is loaded then.
            BadSetting: If there are not so many days or exemplars.
        """
        config, folder = self.config, data_folder(self.data, HOLDS)
        own = load(folder)
        last = own.days if config.days is None else config.days
        if last > own.days:
            raise BadSetting(f"days={last} of Jsonl: {folder} holds {own.days} days")
        for asked in own.questions:
            self._check_choices(asked)
        items = ItemFactory()
        read, asked, practised = defaultdict(list), defaultdict(list), defaultdict(list)
        for record in own.documents:
            read[record.day].append(Document(record.text, record.title))
        for question in own.questions:
            (practised if question.practice else asked)[question.day].append(question)
        base = self._exam(asked[0], 0, seed, items)
        days = []
        for number in range(1, last + 1):
            practice = tuple(_item(question, items) for question in practised[number])
            exam = self._exam(asked[number], number, seed, items)
            days.append(Day(number, tuple(read[number]), (practice,) if practice else (), exam))
        shown = introduce(config, _INSTRUCTION, lambda: self._exemplars(own, folder))
        return Stream("Jsonl", plain(config), seed, tuple(days), base, items.key(), shown)

    def score(self, answer: str, target: str) -> float:
        """The grade by ``metric``."""
        return GRADES[self.config.metric](answer, target)

    def _exam(
        self, questions: list[Asked], number: int, seed: int, items: ItemFactory
    ) -> tuple[Item, ...]:
        places = shuffled(range(len(questions)), seed, "exam", number)
        places = places[: self.config.questions_per_day]
        if self.config.order == "file":
            places.sort()
        return tuple(_item(questions[place], items) for place in places)

    def _exemplars(self, own: OwnData, folder: Path) -> list[Experience]:
        shots = self.config.shots
        if len(own.exemplars) < shots:
            raise BadSetting(
                f"shots={shots} of Jsonl: {folder / EXEMPLARS} holds {len(own.exemplars)} exemplars"
            )
        return [exemplar([Document(x.text, x.title)], x.pairs) for x in own.exemplars[:shots]]

    def _check_choices(self, asked: Asked) -> None:
        for wrong in asked.choices:
            right = max(self.score(wrong, answer) for answer in asked.answers)
            if wrong not in asked.answers and right == 1.0:
                path, record = asked.where
                raise BadData(
                    f"{path}, {record}: the choice {wrong!r:.60} is graded as right by"
                    f" metric={self.config.metric}: use metric=literal"
                )


def _item(asked: Asked, items: ItemFactory) -> Item:
    return items.make(
        asked.id, asked.text, asked.answers, asked.kind, asked.day, asked.choices, asked.until
    )

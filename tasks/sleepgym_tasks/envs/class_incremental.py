"""Class-incremental text classification: every day brings classes that nobody has seen before.

In PRACTICE the agent classifies the day's training texts and is then shown the right labels; in
EXAM it classifies test texts, choosing among the labels of all days so far. A stream is the
protocol of Momeni et al. 2025 (InCA, arXiv:2412.15563), which the paper "Language Models Need
Sleep" follows: CLINC150, Banking77 and DBpedia level 2, one task of new classes after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from sleepgym import Settings
from sleepgym.core import grading
from sleepgym.core.errors import BadSetting
from sleepgym.core.family import TaskFamily
from sleepgym.core.rng import derive_rng
from sleepgym.core.settings import plain
from sleepgym.core.types import AnswerKey, Day, Item, Question, Stream
from sleepgym_tasks.data.items import shuffled
from sleepgym_tasks.datasets import banking77, clinc150, dbpedia, invented
from sleepgym_tasks.datasets.labelled import LabelledTexts, Row

Dataset = Literal["clinc150", "banking77", "dbpedia", "dbpedia14", "invented"]


@dataclass(frozen=True)
class ClassIncrementalConfig(Settings):
    """Settings of :class:`ClassIncremental`.

    Attributes:
        dataset: ``clinc150`` (150 intents in 10 domains), ``banking77`` (77 intents), ``dbpedia``
            (70 topics; bring the files), ``dbpedia14`` (14 topics) or ``invented`` (30 classes
            made up from the seed, no files).
        days: Days of the stream, from the first; all that the classes allow where None.
        classes_per_day: New classes a day. None is the data set's protocol: CLINC150 a domain of
            15 (10 days), Banking77 11 (7 days), DBpedia 10 (7 days), DBpedia-14 2 (7 days),
            invented 5 (6 days). Classes of one domain stay together: a smaller number cuts each
            domain, and a day takes its next part of the next domain; a larger one joins whole
            domains while they fit.
        train_per_class: Texts to practise on, a class; all where None, at most those there are.
        tests_per_class: Texts to be examined on, a class; all where None.
        out_of_scope: CLINC150 alone: the label ``oos`` is among the choices from day 1 on, and
            every day practises and examines queries that belong to no intent (kind
            ``out-of-scope``), as many as of any class, but no more than an even share a day.
        labels: ``names`` of the data set, whose words often stand in the texts, or ``codes``: words
            made up from the seed, so that practice alone tells what a label means.
    """

    dataset: Dataset = "clinc150"
    days: Annotated[int, Ge(1)] | None = None
    classes_per_day: Annotated[int, Ge(1)] | None = None
    train_per_class: Annotated[int, Ge(1)] | None = 10
    tests_per_class: Annotated[int, Ge(1)] | None = 5
    out_of_scope: bool = False
    labels: Literal["names", "codes"] = "names"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out_of_scope and self.dataset != "clinc150":
            raise ValueError(f"out_of_scope needs dataset=clinc150, not {self.dataset}")


class ClassIncremental(TaskFamily):
    """New classes every day; exams over all classes seen so far.

    The seed decides the order of the domains, the order of the classes within them and which texts
    are drawn. A question is the text alone. The original training and test parts are kept as they
    are: two of CLINC150's test texts are among its training texts, two others have two labels.

    The preset ``paper`` uses every text of the original training and test parts. The paper uses
    10,000 training and 1,000 test texts of DBpedia level 2 without saying which; the preset
    ``paper-dbpedia`` draws the nearest balanced number, 143 and 14 a class.
    """

    Config = ClassIncrementalConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "small": {"days": 3, "classes_per_day": 5, "train_per_class": 8, "tests_per_class": 4},
        "paper": {"train_per_class": None, "tests_per_class": None},
        "paper-dbpedia": {"dataset": "dbpedia", "train_per_class": 143, "tests_per_class": 14},
    }

    config: ClassIncrementalConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the data set is not at hand.
            BadData: If a file of it is malformed.
            BadSetting: If there are not enough classes for so many days.
        """
        texts = _load(self.config.dataset, seed, self.data)
        per_day = self.config.classes_per_day or texts.classes_per_day
        plan = arrange(_shuffled(texts.groups, seed), per_day)
        if self.config.days is not None and self.config.days > len(plan):
            raise BadSetting(
                f"days={self.config.days} of ClassIncremental: {self.config.dataset} with"
                f" {per_day} classes a day lasts at most {len(plan)} days"
            )
        plan = plan[: self.config.days]
        key: dict[str, tuple[str, ...]] = {}
        days = tuple(
            self._day(number, labels, texts, len(plan), seed, key)
            for number, labels in enumerate(plan, start=1)
        )
        if self.config.labels == "codes":
            days, key = _coded(days, key, seed)
        days = self._offer(days)
        return Stream("ClassIncremental", plain(self.config), seed, days, key=AnswerKey(key))

    def score(self, answer: str, target: str) -> float:
        """1.0 for the right label, letter by letter."""
        return grading.choice(answer, target)

    def _tests(self, number: int, classes: int, seed: int) -> list[int | None]:
        """Texts to be examined on, for each class of a day; all where None."""
        return [self.config.tests_per_class] * classes

    def _offer(self, days: tuple[Day, ...]) -> tuple[Day, ...]:
        """What the questions offer; none of their own: the labels so far, in order of arrival."""
        return days

    def _day(
        self,
        number: int,
        labels: tuple[str, ...],
        texts: LabelledTexts,
        total: int,
        seed: int,
        key: dict[str, tuple[str, ...]],
    ) -> Day:
        config = self.config
        practice: list[Item] = []
        exam: list[Item] = []
        for label, tests in zip(labels, self._tests(number, len(labels), seed), strict=True):
            for part, items, rows, most in (
                ("train", practice, texts.train[label], config.train_per_class),
                ("test", exam, texts.test[label], tests),
            ):
                drawn = _draw(rows, seed, "draw", part, label)[:most]
                items += _items(drawn, config.dataset, part, label, "direct", number, key)
        if config.out_of_scope:
            oos = clinc150.OUT_OF_SCOPE
            for part, items, rows, most in (
                ("train", practice, texts.out_of_scope_train, config.train_per_class),
                ("test", exam, texts.out_of_scope_test, config.tests_per_class),
            ):
                share = len(rows) // total
                start = share * (number - 1)
                drawn = _draw(rows, seed, "draw", part, oos)[start : start + share][:most]
                items += _items(drawn, config.dataset, part, oos, "out-of-scope", number, key)
            labels = (oos, *labels) if number == 1 else labels
        return Day(
            number,
            practice=(_draw(practice, seed, "practice", number),),
            exam=_draw(exam, seed, "exam", number),
            labels=labels,
        )


class ClassIncrementalV1(ClassIncremental):
    """Class-incremental classification whose choices tell nothing.

    Every question, of practice and exams, offers all classes of the stream in alphabetical order:
    neither the place of a choice nor the number of choices tells the day, the right label or which
    classes are new, and chance is the same on every day. ``tests_per_class`` is a mean: every class
    is examined at least once and a day's other texts fall to its classes at random, so that nobody
    can count on as many questions of one class as of another. Labels, days and practice texts are
    those of version 0.
    """

    def _tests(self, number: int, classes: int, seed: int) -> list[int | None]:
        each = self.config.tests_per_class
        if each is None:
            return [None] * classes
        rng = derive_rng(seed, "tests", number)
        more = rng.multinomial((each - 1) * classes, [1 / classes] * classes)
        return [1 + int(count) for count in more]

    def _offer(self, days: tuple[Day, ...]) -> tuple[Day, ...]:
        choices = tuple(sorted(label for day in days for label in day.labels))

        def offered(items: tuple[Item, ...]) -> tuple[Item, ...]:
            return tuple(
                replace(item, question=Question(item.question.text, choices)) for item in items
            )

        return tuple(
            replace(day, practice=tuple(map(offered, day.practice)), exam=offered(day.exam))
            for day in days
        )


def arrange(groups: Iterable[tuple[str, ...]], per_day: int) -> list[tuple[str, ...]]:
    """Cut groups of classes into days of at most ``per_day``.

    Groups larger than a day are cut, and the days go round the groups (first parts first);
    neighbouring smaller ones are joined while they fit.

    Args:
        groups: Classes, by group, in the order wanted.
        per_day: Most classes a day.
    """
    groups = list(groups)
    starts = range(0, max(len(group) for group in groups), per_day)
    days: list[tuple[str, ...]] = []
    for part in (group[start : start + per_day] for start in starts for group in groups):
        if days and len(days[-1]) + len(part) <= per_day:
            days[-1] += part
        elif part:
            days.append(part)
    return days


def _coded(
    days: tuple[Day, ...], key: Mapping[str, tuple[str, ...]], seed: int
) -> tuple[tuple[Day, ...], dict[str, tuple[str, ...]]]:
    """The same days and answers with a made-up word for every label."""
    names = sorted(label for day in days for label in day.labels)
    words = invented.words(derive_rng(seed, "label codes"), len(names))
    codes = dict(zip(names, words, strict=True))
    coded = tuple(replace(day, labels=tuple(codes[label] for label in day.labels)) for day in days)
    return coded, {item: tuple(codes[label] for label in labels) for item, labels in key.items()}


def _load(dataset: Dataset, seed: int, data: Path | None) -> LabelledTexts:
    match dataset:
        case "clinc150":
            return clinc150.load(data)
        case "banking77":
            return banking77.load(data)
        case "dbpedia":
            return dbpedia.load(data)
        case "dbpedia14":
            return dbpedia.load14(data)
        case "invented":
            return invented.load(seed)


def _shuffled(groups: tuple[tuple[str, ...], ...], seed: int) -> tuple[tuple[str, ...], ...]:
    within = tuple(_draw(group, seed, "classes", i) for i, group in enumerate(groups))
    return _draw(within, seed, "groups")


def _draw(values: Iterable[Any], seed: int, *names: str | int) -> tuple[Any, ...]:
    return tuple(shuffled(values, seed, *names))


def _items(
    rows: Iterable[Row],
    dataset: str,
    part: str,
    label: str,
    kind: str,
    day: int,
    key: dict[str, tuple[str, ...]],
) -> list[Item]:
    """An item a row; its answer goes into ``key``."""
    items = []
    for row in rows:
        item = Item(f"{dataset}/{part}/{row.id}", Question(row.text), kind, day)
        key[item.id] = (label,)
        items.append(item)
    return items

"""Lifelong: months of days, each with material of another kind, out of the other families.

Every part is a procedural family, so that a stream needs no files and can be of any length. Parts
whose worlds would contradict each other are not offered together: edits of the base world stand in
``sleepgym/KnowledgeEdit-v0`` alone.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from annotated_types import Ge, Interval

from sleepgym import Day, Document, Item, Settings, Stream, TaskFamily, derive_rng, derive_seed
from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.lazy.streams import LazyDays, LazyKey, LazyStream
from sleepgym.core.registry import load_object
from sleepgym.core.settings import plain
from sleepgym.core.types import Outline
from sleepgym_tasks.data.grades import GRADES

Name = Literal[
    "almanac",
    "codebook",
    "classes",
    "grids",
    "haystack",
    "stories",
    "math",
    "languages",
    "chronicles",
]
_ENVS = "sleepgym_tasks.envs"


@dataclass(frozen=True)
class Part:
    """A family as a part of the mixture.

    Attributes:
        family: ``module:Class`` of the family.
        settings: Its settings, beside the number of days.
        longest: Most days of one stream of it; it begins anew with another seed after them.
        days: The setting that says how many days it has.
    """

    family: str
    settings: Mapping[str, Any]
    longest: int | None = None
    days: str = "days"

    def make(self, days: int) -> TaskFamily:
        """The family with so many days."""
        cls = load_object(f"{_ENVS}.{self.family}")
        length = ("invented",) * days if self.days == "languages" else days
        return cls(cls.Config(**self.settings, **{self.days: length}))


PARTS: Mapping[str, Part] = {
    "almanac": Part("almanac:AlmanacV1", {"questions": 12, "base_questions": 20}),
    "codebook": Part("codebook:Codebook", {"rules": 3, "demonstrations": 4, "tests": 3}),
    "classes": Part(
        "class_incremental:ClassIncrementalV1",
        {"dataset": "invented", "train_per_class": 5, "tests_per_class": 2},
        longest=6,
    ),
    "grids": Part("few_shot_arc:FewShotARC", {"dataset": "invented", "tests": 2}),
    "haystack": Part("haystack:Haystack", {"values": "words"}),
    "stories": Part("babilong:BABILong", {"tokens": 300, "stories_per_day": 4}),
    "math": Part(
        "math_reasoning:MathReasoning",
        {"digits": 4, "practice_per_day": 4, "problems_per_day": 6, "base_problems": 8},
    ),
    "languages": Part(
        "continual_translation:ContinualTranslation", {"pairs": 16, "tests": 8}, days="languages"
    ),
    "chronicles": Part("long_docs:LongDocs", {}),
}


@dataclass(frozen=True)
class LifelongConfig(Settings):
    """Settings of :class:`Lifelong`.

    Attributes:
        days: Days of the stream.
        families: The parts: almanac, codebook, classes (invented intents), grids (few-shot rules),
            haystack, stories (facts in noise), math, languages, chronicles (long documents).
        weights: How often each comes up, in the order of ``families``; all alike where empty.
        families_per_day: Parts that bring something on one day.
    """

    days: Annotated[int, Interval(ge=1, le=100_000)] = 60
    families: tuple[Name, ...] = get_args(Name)
    weights: tuple[Annotated[float, Ge(0)], ...] = ()
    families_per_day: Annotated[int, Interval(ge=1, le=9)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.families or len(set(self.families)) < len(self.families):
            raise ValueError(f"families={','.join(self.families)}: name one at least, each once")
        if self.weights and len(self.weights) != len(self.families):
            raise ValueError(
                f"weights has {len(self.weights)} numbers for {len(self.families)} families"
            )
        likely = sum(weight > 0 for weight in self.weights or [1.0] * len(self.families))
        if likely < self.families_per_day:
            raise ValueError(
                f"families_per_day={self.families_per_day}: fewer families have a weight above 0"
            )


class Lifelong(TaskFamily):
    """Read, practise and be asked about another kind of thing every day, for months.

    The seed draws by ``weights`` which parts a day brings. Each part is one long stream of its
    family, spread over its days: people return, facts change, languages follow one another. A
    question's kind is its part and its kind there (``almanac-updated``, ``codebook-list2``), and it
    is graded as its part grades. Base questions are those of almanac and math.

    Days are made when they are asked for, a part at a time; a stream of a thousand days begins at
    once with ``exams=sampled``, whose baseline asks no more than the base knowledge and day 1.
    """

    Config = LifelongConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "facts": {"families": ("almanac", "stories", "chronicles", "haystack")},
        "rules": {"families": ("codebook", "classes", "grids", "math", "languages")},
        "two-months": {"exams": "spaced"},
        "year": {"days": 256, "exams": "spaced"},
        "thousand": {"days": 1000, "exams": "sampled"},
    }

    config: LifelongConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed."""
        mixture = _Mixture(self.config, seed)
        days = LazyDays(self.config.days, mixture.day)
        key = LazyKey(mixture.answers, mixture.complete)
        config = plain(self.config)
        return LazyStream("Lifelong", config, seed, days, mixture.base(), key, plan=mixture.plan())

    def score(self, answer: str, target: str) -> float:
        """Exact match; items are graded by :meth:`score_item`."""
        return GRADES["exact"](answer, target)

    def score_item(self, item_id: str, answer: str, target: str) -> float:
        """The grade of the part that the item comes from."""
        return _grader(item_id.partition("/")[0]).score(answer, target)


class _Mixture:
    """The parts of one stream, each made when its first day is asked for.

    Attributes:
        answers: Of the items made so far.
    """

    def __init__(self, config: LifelongConfig, seed: int) -> None:
        self.seed = seed
        self.answers: dict[str, tuple[str, ...]] = {}
        self._today = list(_draw(config, seed))  # by day: part -> which of the part's own days
        self._days_of: dict[str, list[int]] = defaultdict(list)  # part -> its days in the stream
        for number, parts in enumerate(self._today, start=1):
            for name in parts:
                self._days_of[name].append(number)
        self._blocks: dict[tuple[str, int], Stream] = {}

    def plan(self) -> tuple[Outline, ...]:
        """The phases of every day."""
        outlines = []
        for parts in self._today:
            each = [_outline(name) for name in parts]
            reads, asks = any(o.reads for o in each), any(o.asks for o in each)
            outlines.append(Outline(reads, sum(o.rounds for o in each), asks))
        return tuple(outlines)

    def base(self) -> tuple[Item, ...]:
        """Questions about what was known at birth."""
        names = [name for name in ("almanac", "math") if self._days_of[name]]
        return tuple(
            item for name in names for item in self._items(name, 0, self._block(name, 0).base)
        )

    def day(self, number: int) -> Day:
        """Make a day."""
        documents: list[Sequence[Document]] = []
        practice: list[tuple[Item, ...]] = []
        exam: list[Item] = []
        for name, place in self._today[number - 1].items():
            index, place = divmod(place, PARTS[name].longest or len(self._today))
            own = self._block(name, index).days[place]
            documents.append(own.documents)
            practice += [self._items(name, index, items) for items in own.practice]
            exam += self._items(name, index, own.exam)
        read = documents[0] if len(documents) == 1 else LazySequence(partial(_chain, documents))
        return Day(number, read, tuple(practice), tuple(exam))

    def complete(self) -> None:
        """Make every part, for its answers; those whose days nobody asked for are not kept."""
        for name, days in self._days_of.items():
            for index in range(_blocks(name, len(days))):
                if (name, index) not in self._blocks:
                    self._make(name, index)

    def _block(self, name: str, index: int) -> Stream:
        """One stream of a part, kept."""
        if (name, index) not in self._blocks:
            self._blocks[name, index] = self._make(name, index)
        return self._blocks[name, index]

    def _make(self, name: str, index: int) -> Stream:
        """One stream of a part; its answers become known."""
        longest = PARTS[name].longest or len(self._today)
        days = min(longest, len(self._days_of[name]) - index * longest)
        made = PARTS[name].make(days).stream(derive_seed(self.seed, "lifelong", name, index))
        self.answers |= {f"{name}/{index}/{i}": given for i, given in made.key.items()}
        return made

    def _items(self, name: str, index: int, items: Iterable[Item]) -> tuple[Item, ...]:
        return tuple(self._item(name, index, item) for item in items)

    def _item(self, name: str, index: int, item: Item) -> Item:
        """An item of a part with its day, and its last night, in the whole stream."""
        first = index * (PARTS[name].longest or 0)
        days = self._days_of[name]
        return replace(
            item,
            id=f"{name}/{index}/{item.id}",
            kind=f"{name}-{item.kind}",
            day=days[first + item.day - 1] if item.day else 0,
            # true until the night before the part's next day, which changed it
            until=None if item.until is None else days[first + item.until] - 1,
        )


def _draw(config: LifelongConfig, seed: int) -> Iterator[dict[str, int]]:
    """By day: the parts that bring something, each with its own running day from 0."""
    rng = derive_rng(seed, "lifelong", "days")
    weights = np.asarray(config.weights or [1.0] * len(config.families))
    waits = rng.exponential(size=(config.days, len(weights)))  # the shortest come first
    waits = np.divide(waits, weights, out=np.full_like(waits, np.inf), where=weights > 0)
    running = {name: itertools.count() for name in config.families}
    for places in np.argsort(waits, axis=1)[:, : config.families_per_day]:
        names = [config.families[place] for place in places]
        yield {name: next(running[name]) for name in names}


def _blocks(name: str, days: int) -> int:
    longest = PARTS[name].longest
    return -(-days // longest) if longest else min(1, days)


def _chain(documents: Iterable[Sequence[Document]]) -> Iterator[Document]:
    return itertools.chain.from_iterable(documents)


@cache
def _outline(name: str) -> Outline:
    """The phases of a day of a part: the same on all of its days."""
    return PARTS[name].make(1).stream(0).outlines[0]


@cache
def _grader(name: str) -> TaskFamily:
    return PARTS[name].make(1)

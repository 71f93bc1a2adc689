"""Reasoning over facts hidden in long texts, with the text and after the night without it.

BABILong (Y. Kuratov et al., NeurIPS 2024, arXiv:2406.10149): the statements of a bAbI story are
strewn, in order, over a text that has nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval

from sleepgym import Day, Document, Stream, TaskFamily
from sleepgym.core.errors import BadSetting
from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.settings import plain
from sleepgym_tasks.data.grades import GRADES
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.shots import ShotSettings, introduced
from sleepgym_tasks.datasets import babi
from sleepgym_tasks.datasets.background import (
    CHARACTERS_PER_TOKEN,
    MOBY_DICK,
    Book,
    chunked,
    hide,
    noise,
    open_book,
)
from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.stories import Sample, invent

_Story = tuple[str, Sample, int]  # its title, what it says, its place in the stream
Task = Literal["qa1", "qa2", "qa3", "qa4", "qa5"]
_INSTRUCTION = "Answer each question about the story with one word, and nothing else."
_SHOT_TOKENS = 200  # the longest exemplar
LENGTHS = {
    "0k": 0,
    **{f"{n}k": n * 1000 for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)},
    "1M": 1_000_000,
    "10M": 10_000_000,
}


@dataclass(frozen=True)
class BABILongConfig(ShotSettings):
    """Settings of :class:`BABILong`.

    Attributes:
        dataset: ``invented`` (stories of the same kinds, no files) or ``babi``.
        tasks: Tasks of bAbI, taken in turn: one, two and three supporting facts, relations of two
            and of three arguments.
        part: Of bAbI's files: ``test`` (BABILong's) or ``train``.
        background: ``noise`` (sentences without meaning, no files) or ``text`` (a book).
        text: The book: a path under the data folder.
        repeat_text: Whether a book that is too short is gone through again; refused otherwise.
        tokens: Length of a story with its background, about four characters a token; 0 is the
            story alone.
        chunk_tokens: Length of a document.
        days: Days of the stream.
        stories_per_day: Stories a day, each with one question.
        metric: ``exact``, or ``contained`` anywhere in the answer.
    """

    dataset: Literal["invented", "babi"] = "invented"
    tasks: tuple[Task, ...] = ("qa1", "qa2", "qa3")
    part: Literal["test", "train"] = "test"
    background: Literal["noise", "text"] = "noise"
    text: str = MOBY_DICK
    repeat_text: bool = False
    tokens: Annotated[int, Interval(ge=0, le=10_000_000)] = 500
    chunk_tokens: Annotated[int, Interval(ge=16, le=1_000_000)] = 200
    days: Annotated[int, Ge(1)] = 4
    stories_per_day: Annotated[int, Ge(1)] = 3
    metric: Literal["exact", "contained"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tasks:
            raise ValueError("tasks is empty: name some of qa1, qa2, qa3, qa4, qa5")


class BABILong(TaskFamily):
    """Read stories hidden in long texts; answer a question about each, now and ever after.

    bAbI's people and places are the same in every story. A story therefore has an invented name,
    which titles its documents and opens its question, so that stories of other days do not
    contradict it. The kind of a question is its task. The seed draws the stories and their order,
    where each statement is hidden, and where in the book the background begins. An exemplar is a
    story among at most 200 tokens of sentences without meaning; one of ``babi`` is of the files of
    the other ``part``.

    The presets ``0k`` to ``10M`` are BABILong's lengths on bAbI with a book as background (PG19 in
    the paper).
    """

    Config = BABILongConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        **{
            name: {
                "dataset": "babi",
                "background": "text",
                "tokens": tokens,
                **({} if tokens < 64_000 else {"chunk_tokens": 1000}),
                **({} if tokens < 1_000_000 else {"days": 1, "stories_per_day": 1}),
            }
            for name, tokens in LENGTHS.items()
        },
    }

    config: BABILongConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If a file is not at hand.
            BadData: If one is malformed, or the book is too short.
            BadSetting: If there are not enough stories.
        """
        config, items = self.config, ItemFactory()
        names = Register(derive(seed, "babilong", "names"))
        samples = {task: self._samples(task, seed) for task in config.tasks}
        book = None
        if config.background == "text" and config.tokens:
            book = open_book(config.text, self.data, config.tokens, config.repeat_text)
        days = []
        for number in range(1, config.days + 1):
            stories: list[_Story] = []
            exam = []
            for place in range(config.stories_per_day):
                index = (number - 1) * config.stories_per_day + place
                task = config.tasks[index % len(config.tasks)]
                sample = next(samples[task], None)
                if sample is None:
                    raise BadSetting(
                        f"days={config.days} with stories_per_day={config.stories_per_day} of"
                        f" BABILong: {task} has no story left on day {number}"
                    )
                title = f"Story {names.fresh('river')}"
                stories.append((title, sample, index))
                exam.append(
                    items.make(
                        f"d{number}/{task}/{place}",
                        f"{title}: {sample.question}",
                        (sample.answer,),
                        task,
                        number,
                    )
                )
            documents = LazySequence(partial(self._documents, stories, seed, book))
            days.append(Day(number, documents, exam=tuple(exam)))
        stream = Stream("BABILong", plain(config), seed, tuple(days), key=items.key())
        return introduced(stream, config, _INSTRUCTION, self._other)

    def score(self, answer: str, target: str) -> float:
        """The grade by ``metric``."""
        return GRADES[self.config.metric](answer, target)

    def _other(self, seed: int) -> Stream:
        """A stream of other stories, as many days as there are exemplars."""
        config = replace(
            self.config,
            part="train" if self.config.part == "test" else "test",
            background="noise",
            tokens=min(self.config.tokens, _SHOT_TOKENS),
            days=self.config.shots,
            stories_per_day=1,
            shots=0,
        )
        return BABILong(config, self.data).stream(seed)

    def _samples(self, task: str, seed: int) -> Iterator[Sample]:
        if self.config.dataset == "babi":
            samples = babi.parse(babi.find_task(task, self.config.part, self.data))
            return iter(shuffled(samples, seed, "babilong", task))
        rng = derive(seed, "babilong", "stories", task)
        return iter(lambda: invent(rng, task), None)

    def _documents(
        self, stories: Iterable[_Story], seed: int, book: Book | None
    ) -> Iterator[Document]:
        for title, sample, index in stories:
            for text in self._texts(sample, seed, index, book):
                yield Document(text, title)

    def _texts(self, sample: Sample, seed: int, index: int, book: Book | None) -> Iterator[str]:
        """The documents of a story: its statements, in order, among the background."""
        config = self.config
        rng = derive(seed, "babilong", "background", index)
        characters = config.tokens * CHARACTERS_PER_TOKEN - sum(map(len, sample.facts))
        characters = max(0, characters)
        if book is None or not characters:
            background = noise(rng)
        else:
            background = book.sentences(rng.random(), 1 + characters // book.characters)
        places = sorted(rng.random() for _ in sample.facts)
        return chunked(hide(sample.facts, places, background, characters), config.chunk_tokens)

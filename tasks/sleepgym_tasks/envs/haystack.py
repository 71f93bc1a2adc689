"""Needles in a haystack: keys and values in a long text, asked in the evening and the morning.

RULER's retrieval tasks (C.-P. Hsieh et al., COLM 2024, arXiv:2404.06654) with the text read in
chunks over a day, and asked once more after the night, when the text is gone.
"""

from __future__ import annotations

import itertools
import math
import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval

from sleepgym import Day, Document, Stream, TaskFamily
from sleepgym.core.errors import BadSetting
from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.settings import plain
from sleepgym_tasks.data.grades import GRADES
from sleepgym_tasks.data.items import ItemFactory
from sleepgym_tasks.data.parsing import read_lines
from sleepgym_tasks.data.shots import ShotSettings, introduced
from sleepgym_tasks.data.sources import locate
from sleepgym_tasks.datasets.background import (
    CHARACTERS_PER_TOKEN,
    MOBY_DICK,
    Book,
    chunked,
    hide,
    noise,
    open_book,
)
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.language.words import english

WordLists = tuple[tuple[str, ...], tuple[str, ...]]
DEPTHS = 40  # evenly spaced places at which RULER hides a needle
_NEEDLE = "One of the special magic {what} for {key} is: {value}."
_ASKED = "What is the special magic {what} for {key} mentioned in the provided text?"
_INSTRUCTION = "Answer each question with the value that the text gives, and nothing else."
_SHOT_TOKENS, _SHOT_NEEDLES = 400, 4  # of an exemplar, at most
_NAMES = {"numbers": "number", "words": "word", "uuids": "uuid"}


@dataclass(frozen=True)
class HaystackConfig(ShotSettings):
    """Settings of :class:`Haystack`.

    Attributes:
        haystack: ``noise`` (sentences without meaning, no files), ``text`` (a book) or ``needles``
            (nothing but needles that are not asked for).
        text: The book: a path under the data folder.
        repeat_text: Whether a book that is too short is gone through again, as RULER does; refused
            otherwise.
        words: Where words of keys come from: ``built-in`` (two English words) or ``ruler``
            (adjective and noun of RULER's lists).
        keys: ``words`` or ``uuids``.
        values: ``numbers`` of seven digits, ``words`` or ``uuids``.
        days: Days of the stream.
        tokens: Length of a day's text, about four characters a token.
        chunk_tokens: Length of a document.
        needles: Needles a day; all are asked for.
        metric: ``exact``, or ``contained`` as RULER grades.
    """

    haystack: Literal["noise", "text", "needles"] = "noise"
    text: str = MOBY_DICK
    repeat_text: bool = False
    words: Literal["built-in", "ruler"] = "built-in"
    keys: Literal["words", "uuids"] = "words"
    values: Literal["numbers", "words", "uuids"] = "numbers"
    days: Annotated[int, Ge(1)] = 4
    tokens: Annotated[int, Interval(ge=100, le=10_000_000)] = 1000
    chunk_tokens: Annotated[int, Interval(ge=16, le=1_000_000)] = 200
    needles: Annotated[int, Interval(ge=1, le=10_000)] = 4
    metric: Literal["exact", "contained"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.tokens // 40
        if self.needles > most:
            raise ValueError(f"needles={self.needles}: tokens={self.tokens} hold at most {most}")


class Haystack(TaskFamily):
    """Read a long text with a few odd sentences in it; give their values when asked for a key.

    Every key occurs once in a stream. Needles lie at depths drawn from 40 evenly spaced ones, as in
    RULER, or on random lines among needles that are not asked for. An exemplar is a text of at most
    400 tokens with other needles, in noise where the stream has a book. The presets are RULER's
    tasks at 4,000 tokens; all needles are asked for where RULER asks for one.
    """

    Config = HaystackConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        **{
            name: {
                **settings,
                "words": "ruler",
                "tokens": 4000,
                "metric": "contained",
                "repeat_text": True,
            }
            for name, settings in {
                "niah_multikey_1": {"haystack": "text"},
                "niah_multikey_2": {"haystack": "needles"},
                "niah_multikey_3": {"haystack": "needles", "keys": "uuids", "values": "uuids"},
            }.items()
        },
        "million": {"tokens": 1_000_000, "days": 1, "chunk_tokens": 1000, "needles": 40},
    }

    config: HaystackConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the book or the word lists are not at hand.
            BadData: If the book is no text or too short, or a word list is empty.
            BadSetting: If there are not enough keys.
        """
        config, items = self.config, ItemFactory()
        words = self._words()
        keys = _uuids(seed) if config.keys == "uuids" else _pairs(seed, *words)
        book = None
        if config.haystack == "text":
            book = open_book(config.text, self.data, config.tokens, config.repeat_text)
        days = tuple(
            self._day(number, seed, keys, words, items, book)
            for number in range(1, config.days + 1)
        )
        stream = Stream("Haystack", plain(config), seed, days, key=items.key())
        return introduced(stream, config, _INSTRUCTION, self._other)

    def score(self, answer: str, target: str) -> float:
        """The grade by ``metric``."""
        return GRADES[self.config.metric](answer, target)

    def _other(self, seed: int) -> Stream:
        """A stream of other needles, as many days as there are exemplars."""
        config = replace(
            self.config,
            haystack="noise" if self.config.haystack == "text" else self.config.haystack,
            tokens=min(self.config.tokens, _SHOT_TOKENS),
            needles=min(self.config.needles, _SHOT_NEEDLES, self.config.tokens // 40),
            days=self.config.shots,
            shots=0,
        )
        return Haystack(config, self.data).stream(seed)

    def _day(
        self,
        number: int,
        seed: int,
        keys: Iterator[str],
        words: WordLists,
        items: ItemFactory,
        book: Book | None,
    ) -> Day:
        config = self.config
        rng = derive(seed, "haystack", number)
        values = self._values(rng, words)
        pairs = list(zip(itertools.islice(keys, config.needles), values, strict=False))
        if len(pairs) < config.needles:
            raise BadSetting(f"days={config.days} of Haystack: all keys are used by day {number}")
        needles = [self._needle(*pair) for pair in pairs]
        what = _NAMES[config.values]
        exam = tuple(
            items.make(
                f"d{number}/{place}", _ASKED.format(what=what, key=key), (value,), "direct", number
            )
            for place, (key, value) in enumerate(pairs)
        )
        characters = max(0, config.tokens * CHARACTERS_PER_TOKEN - sum(map(len, needles)))
        places = _depths(rng, len(needles))
        match config.haystack:
            case "needles":  # made now: it takes keys that no later day may take
                background = (self._needle(*pair) for pair in zip(keys, values, strict=False))
                places = sorted(rng.random() for _ in needles)
                sentences = hide(needles, places, background, characters)
                texts = chunked(sentences, config.chunk_tokens)
                return Day(number, tuple(map(Document, texts)), exam=exam)
            case "text":
                assert book is not None
                begin = partial(book.sentences, rng.random(), 1 + characters // book.characters)
            case "noise":
                begin = partial(_noise, rng.getstate())

        def documents() -> Iterator[Document]:
            sentences = hide(needles, places, begin(), characters)
            return map(Document, chunked(sentences, config.chunk_tokens))

        return Day(number, LazySequence(documents), exam=exam)

    def _needle(self, key: str, value: str) -> str:
        return _NEEDLE.format(what=self.config.values, key=key, value=value)

    def _values(self, rng: random.Random, words: WordLists) -> Iterator[str]:
        while True:
            match self.config.values:
                case "numbers":
                    yield str(rng.randint(1_000_000, 9_999_999))
                case "words":
                    yield "-".join(rng.choice(choices) for choices in words)
                case "uuids":
                    yield _uuid(rng)

    def _words(self) -> WordLists:
        """First and second halves of keys."""
        if self.config.words == "built-in":
            words = english()[120:]  # the most frequent ones say nothing
            return words, words
        adjectives, nouns = (
            tuple(sorted({line.strip() for _, line in read_lines(path)}))
            for path in (
                locate("ruler_niah_words", f"{name}list.txt", self.data)
                for name in ("adjective", "noun")
            )
        )
        return adjectives, nouns


def _pairs(seed: int, firsts: tuple[str, ...], seconds: tuple[str, ...]) -> Iterator[str]:
    """All pairs of words, none of them twice, on a walk that the seed draws."""
    rng = derive(seed, "haystack", "keys")
    total = len(firsts) * len(seconds)
    stride = rng.randrange(1, total)
    while math.gcd(stride, total) != 1:
        stride = rng.randrange(1, total)
    place = rng.randrange(total)
    for _ in range(total):
        place = (place + stride) % total
        yield f"{firsts[place // len(seconds)]}-{seconds[place % len(seconds)]}"


def _noise(state: tuple[Any, ...]) -> Iterator[str]:
    """Noise from a state of a generator: the same whenever it is begun."""
    rng = random.Random()
    rng.setstate(state)
    return noise(rng)


def _uuids(seed: int) -> Iterator[str]:
    rng = derive(seed, "haystack", "keys")
    while True:
        yield _uuid(rng)


def _depths(rng: random.Random, count: int) -> list[float]:
    depths = [(place + 0.5) / DEPTHS for place in range(DEPTHS)]
    if count <= DEPTHS:
        return sorted(rng.sample(depths, count))
    return sorted(rng.choice(depths) for _ in range(count))


def _uuid(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))

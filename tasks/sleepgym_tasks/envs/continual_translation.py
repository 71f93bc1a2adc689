"""Continual translation of novel languages: one language a day, all of them ever after.

The paper "Language Models Need Sleep" teaches Kalamang (MTOB, G. Tanzer et al., ICLR 2024,
arXiv:2309.16575) and Manchu, each alone and then in sequence, scored by chrF. Here they are what
the user brings, and invented languages stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Interval

from sleepgym import Day, Document, Item, Settings, Stream, TaskFamily
from sleepgym.core import grading
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import plain
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.datasets.background import Book, chunked
from sleepgym_tasks.datasets.mtob import Direction, Pair, load
from sleepgym_tasks.worlds.invented_languages import Language, clauses
from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.seeds import derive

_ROUND = 16  # pairs of a round of practice


@dataclass(frozen=True)
class ContinualTranslationConfig(Settings):
    """Settings of :class:`ContinualTranslation`.

    Attributes:
        languages: By day: ``invented`` (a new one each time, no files), or the name of a folder in
            MTOB's layout, such as ``kalamang`` or ``manchu``.
        direction: ``to-english`` or ``from-english``.
        pairs: Pairs practised, a language; all where None (120 of an invented one).
        tests: Sentences to translate, a language; all where None (50 of an invented one).
        words: Whether the word list is read.
        grammar: Whether the grammar is read.
        chunk_tokens: Length of a document, about four characters a token.
    """

    languages: tuple[str, ...] = ("invented", "invented", "invented")
    direction: Direction = "to-english"
    pairs: Annotated[int, Ge(1)] | None = 32
    tests: Annotated[int, Ge(1)] | None = 12
    words: bool = True
    grammar: bool = True
    chunk_tokens: Annotated[int, Interval(ge=16, le=1_000_000)] = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.languages:
            raise ValueError("languages is empty: name at least one, such as invented")
        real = [name for name in self.languages if name != "invented"]
        if len(set(real)) < len(real):
            raise ValueError(f"languages={','.join(self.languages)} names a language twice")


class ContinualTranslation(TaskFamily):
    """Study a language's grammar and words, practise pairs, translate held-out sentences.

    STUDY brings grammar and word list in chunks, PRACTICE the pairs in rounds of 16, each followed
    by its translation. An exam asks sentences that were not practised; their kind is the language
    (``invented-1``, ``invented-2``, ...). A language alone is a stream of one day; what a sequence
    costs is the difference between its last morning and that.

    The grade is sentence chrF by sacrebleu, in [0, 1]. The seed invents the languages and draws
    pairs and sentences.
    """

    Config = ContinualTranslationConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "kalamang": {"languages": ("kalamang",), "pairs": None, "tests": None},
        "manchu": {"languages": ("manchu",), "pairs": None, "tests": None},
        "sequence": {"languages": ("kalamang", "manchu"), "pairs": None, "tests": None},
    }

    config: ContinualTranslationConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If a language's files are not at hand.
            BadData: If one is malformed.
            BadSetting: If a language has not so many pairs or sentences.
        """
        items = ItemFactory()
        names = Register(derive(seed, "translation", "names"))
        days = tuple(
            self._invented(number, seed, f"{names.fresh('river')}i", items)
            if language == "invented"
            else self._brought(number, seed, language, items)
            for number, language in enumerate(self.config.languages, start=1)
        )
        return Stream("ContinualTranslation", plain(self.config), seed, days, key=items.key())

    def score(self, answer: str, target: str) -> float:
        """Sentence chrF."""
        return grading.chrf(answer, target)

    def _invented(self, number: int, seed: int, name: str, items: ItemFactory) -> Day:
        config = self.config
        language = Language(derive(seed, "translation", "language", number), name)
        said = clauses(derive(seed, "translation", "sentences", number))
        pairs = []
        for clause in islice(said, (config.pairs or 120) + (config.tests or 50)):
            pair = Pair(language.say(clause), clause.english)
            pairs.append(pair if config.direction == "to-english" else Pair(*pair[::-1]))
        train, test = pairs[: config.pairs or 120], pairs[config.pairs or 120 :]
        grammar = iter([language.grammar()])
        return self._day(
            number, name, f"invented-{number}", grammar, language.words(), train, test, items
        )

    def _brought(self, number: int, seed: int, language: str, items: ItemFactory) -> Day:
        config = self.config
        parallel = load(language, config.direction, self.data)
        for what, most, there in (
            ("pairs", config.pairs, parallel.train),
            ("tests", config.tests, parallel.test),
        ):
            if most is not None and most > len(there):
                raise BadSetting(
                    f"{what}={most} of ContinualTranslation: {language} has {len(there)}"
                )
        train = shuffled(parallel.train, seed, "pairs", language)[: config.pairs]
        test = shuffled(parallel.test, seed, "tests", language)[: config.tests]
        grammar: Iterator[str] = iter(())
        if parallel.grammar is not None and config.grammar:
            grammar = chunked(Book(parallel.grammar).sentences(0.0), config.chunk_tokens)
        name = language.replace("_", " ").title()
        return self._day(number, name, language, grammar, parallel.words, train, test, items)

    def _day(
        self,
        number: int,
        name: str,
        kind: str,
        grammar: Iterable[str],
        words: Iterable[str],
        train: list[Pair],
        test: list[Pair],
        items: ItemFactory,
    ) -> Day:
        config = self.config
        sides = (name, "English") if config.direction == "to-english" else ("English", name)

        def item(what: str, pair: Pair) -> Item:
            text = f"Translate from {sides[0]} to {sides[1]}: {pair.source}"
            return items.make(f"d{number}/{what}", text, (pair.target,), kind, number)

        documents = []
        if config.grammar:
            documents += [Document(text, f"Grammar of {name}") for text in grammar]
        if config.words:
            chunks = chunked((f"{entry};" for entry in words), config.chunk_tokens)
            documents += [Document(text, f"Words of {name}") for text in chunks]
        practice = [item(f"pair-{n}", pair) for n, pair in enumerate(train)]
        rounds = [tuple(practice[i : i + _ROUND]) for i in range(0, len(practice), _ROUND)]
        exam = tuple(item(f"test-{n}", pair) for n, pair in enumerate(test))
        return Day(number, tuple(documents), tuple(rounds), exam)

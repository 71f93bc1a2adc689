"""Long texts to hide something in: a book of the user's, or noise, sentence by sentence.

Nothing here holds more than a paragraph of a book: sentences are read as they are needed, so that
a stream of ten million tokens holds its documents and nothing beside them. Lengths are in tokens of
``CHARACTERS_PER_TOKEN`` characters, the usual rule of thumb for English; no tokenizer is asked.
"""

from __future__ import annotations

import codecs
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from sleepgym.core.errors import MissingData
from sleepgym_tasks.data.parsing import bad
from sleepgym_tasks.data.source_files import FILES
from sleepgym_tasks.data.sources import data_folder, locate
from sleepgym_tasks.worlds.language.words import phrase

CHARACTERS_PER_TOKEN = 4
MOBY_DICK = "gutenberg_moby_dick/2701-0.txt"
_START, _END = b"*** START OF TH", b"*** END"
_SENTENCE_ENDS = re.compile(r"""(?<=[.!?])\s+|(?<=[.!?]["'”’)])\s+""")


class Book:
    """A text file in UTF-8; of a Project Gutenberg file, the part between its marks.

    Args:
        path: The file.

    Raises:
        BadData: If it cannot be read, or there is nothing to read in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._first, self._last = _body(file)
        except OSError as error:
            raise bad(path, f"cannot be read: {error.strerror}") from error
        if self.characters == 0:
            raise bad(path, "there is no text in it")

    @cached_property
    def characters(self) -> int:
        """Characters of all sentences, with a space between two."""
        return sum(len(sentence) + 1 for sentence in self._once(self._first, self._last))

    def sentences(self, start: float, rounds: int = 1) -> Iterator[str]:
        """Sentences from a place on, going round at the end.

        Args:
            start: Where to begin, as a share of the text in [0, 1).
            rounds: How often the whole text is gone through.
        """
        middle = self._first + int(start * (self._last - self._first))
        if middle > self._first:  # begin with a whole line
            with self.path.open("rb") as file:
                file.seek(middle)
                middle = min(self._last, middle + len(file.readline()))
        for _ in range(rounds):
            yield from self._once(middle, self._last)
            yield from self._once(self._first, middle)

    def _once(self, first: int, last: int) -> Iterator[str]:
        with self.path.open("rb") as file:
            file.seek(first)
            paragraph: list[str] = []
            place = first
            while place < last and (raw := file.readline()):
                try:
                    line = raw.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    raise bad(self.path, f"not UTF-8 at byte {place + error.start}") from error
                place += len(raw)
                if line:
                    paragraph.append(line)
                elif paragraph:
                    yield from _SENTENCE_ENDS.split(" ".join(paragraph))
                    paragraph = []
            if paragraph:
                yield from _SENTENCE_ENDS.split(" ".join(paragraph))


def open_book(name: str, data: Path | None, tokens: int, repeat: bool) -> Book:
    """The book ``name`` under the data folder, long enough for ``tokens``.

    Args:
        name: Path under the data folder, for example ``MOBY_DICK``, which is downloaded if need be.
        data: Folder of original data files; ``SLEEPGYM_DATA`` where None.
        tokens: How much text is wanted at a time.
        repeat: Whether a shorter book may be gone through again.

    Raises:
        MissingData: If it is not at hand.
        BadData: If it is no text, or too short.
    """
    folder, _, file = name.partition("/")
    if (folder, file) in FILES:
        path = locate(folder, file, data)
    else:
        path = data_folder(data, name) / name
        if not path.is_file():
            raise MissingData(
                f"no text {name!r} under {path.parents[name.count('/')]}: put it there"
            )
    book = Book(path)
    wanted = tokens * CHARACTERS_PER_TOKEN
    if book.characters < wanted and not repeat:
        raise bad(
            path,
            f"about {book.characters // CHARACTERS_PER_TOKEN:,} tokens, not the {tokens:,} asked"
            " for: bring a longer text, or set repeat_text=true",
        )
    return book


def noise(rng: random.Random) -> Iterator[str]:
    """Sentences of English words without meaning, for ever."""
    while True:
        words = phrase(rng, 6, 12)
        yield f"{words[0].upper()}{words[1:]}."


def hide(
    facts: Sequence[str], places: Sequence[float], background: Iterable[str], characters: int
) -> Iterator[str]:
    """Sentences of the background with the facts among them, in order.

    Args:
        facts: Sentences to hide.
        places: Where each goes, as a rising share of the background.
        background: Sentences; those needed are taken.
        characters: How much background, in characters; 0 is the facts alone.
    """
    waiting = list(zip(facts, places, strict=True))
    used = 0
    if characters:
        for sentence in background:
            while waiting and waiting[0][1] * characters <= used:
                yield waiting.pop(0)[0]
            yield sentence
            used += len(sentence) + 1
            if used >= characters:
                break
    for fact, _ in waiting:
        yield fact


def chunked(sentences: Iterable[str], tokens: int, joint: str = " ") -> Iterator[str]:
    """Texts of about ``tokens`` each, made of whole sentences with ``joint`` between them."""
    most = tokens * CHARACTERS_PER_TOKEN
    chunk: list[str] = []
    length = 0
    for sentence in sentences:
        if chunk and length + len(sentence) > most:
            yield joint.join(chunk)
            chunk, length = [], 0
        chunk.append(sentence)
        length += len(sentence) + 1
    if chunk:
        yield joint.join(chunk)


def _body(file) -> tuple[int, int]:
    """Where the text begins and ends, in bytes: behind a byte-order mark, between the marks."""
    first = last = place = 0
    if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
        first = place = len(codecs.BOM_UTF8)
    file.seek(place)
    for raw in file:
        if raw.startswith(_START):
            first = place + len(raw)
        elif raw.startswith(_END) and place > first:
            return first, place
        place += len(raw)
        last = place
    return first, last

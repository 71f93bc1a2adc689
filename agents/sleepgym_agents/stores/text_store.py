"""A text memory within a byte budget, searched by BM25. Imports no torch."""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np

from sleepgym.core.errors import BadRun, BadSetting
from sleepgym.core.types import Document

# Where JAX is installed, importing bm25s runs it, and JAX takes three quarters of a GPU's memory:
# for a way of sorting that is not used here. What stands as None cannot be imported.
_jax: ModuleType | None = sys.modules.pop("jax", None)
sys.modules["jax"] = None  # pyright: ignore[reportArgumentType]
try:
    import bm25s
finally:
    del sys.modules["jax"]
    if _jax is not None:
        sys.modules["jax"] = _jax

FIRST_HITS = 16  # sorted before the others, as few readers want more


@dataclass(frozen=True, slots=True)
class Note:
    """An entry of a text memory.

    Attributes:
        text: A passage, or a question that was practised.
        title: Of the passage's document.
        answer: The right answer to the question; None for a passage.
    """

    text: str
    title: str = ""
    answer: str | None = None

    @property
    def line(self) -> bytes:
        """The note as it stands in the saved file, line end included."""
        fields = {"text": self.text, "title": self.title, "answer": self.answer}
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


class TextStore:
    """Notes in the order they came; the oldest go when the saved file would exceed its budget.

    Attributes:
        budget_bytes: Largest size of the saved file.
        size_bytes: Its size now.
        notes: The notes, oldest first.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.size_bytes = 0
        self.notes: deque[Note] = deque()
        self._index: bm25s.BM25 | None = None
        self._empty = True

    def add(self, note: Note) -> None:
        """Remember a note, forgetting the oldest ones if there is no room.

        Raises:
            BadSetting: If the memory cannot hold this one alone.
        """
        size = len(note.line)
        if size > self.budget_bytes:
            raise BadSetting(
                f"store_bytes={self.budget_bytes}: one note takes {size} bytes; "
                f"set store_bytes to {size} or more"
            )
        self.notes.append(note)
        self.size_bytes += size
        while self.size_bytes > self.budget_bytes:
            self.size_bytes -= len(self.notes.popleft().line)
        self._index = None

    def search(self, query: str) -> Iterator[Note]:
        """Notes that share a word with ``query``, best BM25 score first, newest first of equals."""
        return (self.notes[i] for i in self._ranked(query))

    def best(self, query: str, count: int) -> list[Note]:
        """The ``count`` best notes, in the order they came: the newest is last."""
        return [self.notes[i] for i in sorted(islice(self._ranked(query), count))]

    def _ranked(self, query: str) -> Iterator[int]:
        if self._index is None:
            self._build()
        words = _words(query)
        if self._empty or not words:
            return
        assert self._index is not None
        scores = self._index.get_scores(words)
        hits = np.flatnonzero(scores > 0)[::-1]
        if len(hits) > FIRST_HITS:
            least = np.partition(scores, -FIRST_HITS)[-FIRST_HITS]
            yield from _sorted(hits[scores[hits] >= least], scores)
            hits = hits[scores[hits] < least]
        yield from _sorted(hits, scores)

    def save(self, path: Path) -> None:
        """Write one JSON object a note and line."""
        path.write_bytes(b"".join(note.line for note in self.notes))

    def load(self, path: Path) -> None:
        """Replace all notes by those that :meth:`save` wrote.

        Raises:
            BadRun: If a line is not a note.
        """
        self.notes.clear()
        self.size_bytes = 0
        self._index = None
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                self.add(Note(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise BadRun(f"{path}, line {number}: not a note: {error}") from error

    def _build(self) -> None:
        texts = [_words(f"{note.title} {note.text}") for note in self.notes]
        self._empty = not any(texts)
        self._index = bm25s.BM25()
        if not self._empty:
            self._index.index(texts, show_progress=False)


def _sorted(hits: np.ndarray, scores: np.ndarray) -> list[int]:
    """Best score first; equals stay as they stand."""
    return hits[np.argsort(-scores[hits], kind="stable")].tolist()


def sentences(text: str) -> list[str]:
    """The sentences of a text, split after ``.``, ``!`` or ``?`` and at line ends."""
    parts = re.split(r"(?<=[.!?])\s+|\n+", text)
    return [part.strip() for part in parts if part.strip()]


def passages(document: Document, words: int) -> Iterator[Note]:
    """A document in passages of whole sentences, up to about ``words`` words each."""
    held: list[str] = []
    count = 0
    for sentence in sentences(document.text):
        size = len(sentence.split())
        if held and count + size > words:
            yield Note(" ".join(held), document.title)
            held, count = [], 0
        held.append(sentence)
        count += size
    if held:
        yield Note(" ".join(held), document.title)


def shared_words(text: str, others: Sequence[str]) -> list[int]:
    """How many distinct words each of ``others`` has in common with ``text``."""
    own = set(_words(text))
    return [len(own & set(_words(other.replace("_", " ")))) for other in others]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())

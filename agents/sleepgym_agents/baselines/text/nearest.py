"""The agent without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Agent, Document, Question, Settings
from sleepgym_agents.stores.text_store import Note, TextStore, sentences, shared_words


@dataclass(frozen=True)
class NearestSettings(Settings):
    """Settings of :class:`Nearest`.

    Attributes:
        store_bytes: Size of the text memory; the oldest notes go first.
    """

    store_bytes: Annotated[int, Ge(0)] = 1_000_000


class Nearest(Agent):
    """Answers with what stands at the best BM25 hit: a nearest-neighbour baseline.

    Sentences and practised questions are stored as they come. The answer to a question is the
    answer of the nearest practised question, or the nearest sentence as it stands, whichever scores
    higher (BM25: Robertson and Zaragoza 2009; newest first of equals). Where choices are offered,
    it is the choice that the nearest hit with an offered answer had; without such a hit, the choice
    that shares most words with the nearest sentence and the question, the first of equals.
    """

    Config: ClassVar[type] = NearestSettings
    title: ClassVar[str] = "Nearest sentence (BM25)"
    sources: ClassVar[str] = "Robertson and Zaragoza 2009"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "store_bytes": [10_000, 100_000, 1_000_000],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.store = TextStore(self.config.store_bytes)

    def study(self, documents: Sequence[Document]) -> None:
        """Store documents in sentences."""
        for document in documents:
            for sentence in sentences(document.text):
                self.store.add(Note(sentence, document.title))

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Store questions with their right answers."""
        for question, answer in zip(questions, answers, strict=True):
            self.store.add(Note(question.text, answer=answer))

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """The nearest answer or sentence."""
        return [self._answer(question) for question in questions]

    def save(self, path: Path) -> None:
        """Write the memory."""
        self.store.save(path / "memory.jsonl")

    def load(self, path: Path) -> None:
        """Read the memory."""
        self.store.load(path / "memory.jsonl")

    def _answer(self, question: Question) -> str:
        sentence = ""
        for hit in self.store.search(question.text):
            if not question.choices:
                return hit.text if hit.answer is None else hit.answer
            if hit.answer in question.choices:
                return hit.answer
            if hit.answer is None and not sentence:
                sentence = hit.text
        if not question.choices:
            return ""
        shared = shared_words(f"{sentence} {question.text}", question.choices)
        return question.choices[shared.index(max(shared))]

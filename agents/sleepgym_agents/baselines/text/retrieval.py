"""The agent that retrieves before it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym_agents.baselines.base_agent import AnswerSettings, ModelAgent
from sleepgym_agents.stores.text_store import Note, TextStore, passages


@dataclass(frozen=True)
class RetrievalSettings(AnswerSettings):
    """Settings of :class:`Retrieval`.

    Attributes:
        store_bytes: Size of the text memory; the oldest notes go first.
        retrieved: Notes put into the prompt.
        passage_words: Documents are stored in passages of about this many words.
    """

    store_bytes: Annotated[int, Ge(0)] = 1_000_000
    retrieved: Annotated[int, Ge(1)] = 4
    passage_words: Annotated[int, Ge(1)] = 100


class Retrieval(ModelAgent):
    """RAG: stores everything as text, and the language model answers behind the best BM25 hits.

    Retrieval-augmented generation (Lewis et al. 2020) with BM25 (Robertson and Zaragoza 2009; the
    bm25s package), the "RAG" of long-context tables. Passages and practised questions are stored as
    they come, in a memory of ``store_bytes``; the best ``retrieved`` of them stand before a
    question, in the order they came, so that of two facts that contradict each other the newer is
    read last. The saved state is that text. Nothing else is kept in context.

    Departures:
        1. A fixed, untrained retriever; the model is not trained to use it.
    """

    Config: ClassVar[type] = RetrievalSettings
    takes_endpoint: ClassVar[bool] = True
    title: ClassVar[str] = "Retrieval (BM25)"
    sources: ClassVar[str] = "Lewis et al. 2020; Robertson and Zaragoza 2009"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "retrieved": [2, 4, 6, 8],
        "passage_words": [50, 100, 200],
        "max_answer_tokens": [16, 32, 64],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.store = TextStore(self.config.store_bytes)

    def study(self, documents: Sequence[Document]) -> None:
        """Store documents in passages."""
        for document in documents:
            for note in passages(document, self.config.passage_words):
                self.store.add(note)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Store questions with their right answers."""
        for question, answer in zip(questions, answers, strict=True):
            self.store.add(Note(question.text, answer=answer))

    def context(self, question: Question) -> Sequence[Sequence[int]]:
        """The best hits, in the order they came."""
        notes = self.store.best(question.text, self.config.retrieved)
        return [self._ids(note) for note in notes]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Nothing to consolidate: the memory is kept as it is."""
        return {"notes": float(len(self.store.notes))}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every question is read after its notes; the store fills up over the stream."""
        words = config.passage_words * 4 / 3  # tokens
        notes = max(scale.documents + scale.practised, scale.day_tokens / words)
        shown = min(config.retrieved, notes / 2) * scale.day_tokens / max(1, notes)
        return super().estimate(config, scale) + Cost(read=scale.questions * shown)

    def save(self, path: Path) -> None:
        """Write the memory."""
        self.store.save(path / "memory.jsonl")

    def load(self, path: Path) -> None:
        """Read the memory."""
        self.store.load(path / "memory.jsonl")

    def _ids(self, note: Note) -> list[int]:
        if note.answer is None:
            return self.lm.prompter.document(Document(note.text, note.title))
        return self.lm.prompter.demonstration(note.text, note.answer)

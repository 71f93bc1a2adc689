"""The agent that keeps a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.stores.text_store import Note, TextStore
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class NotebookSettings(InContextSettings):
    """Settings of :class:`Notebook`.

    Attributes:
        store_bytes: Size of the notebook; the oldest notes go first.
        retrieved: Notes put into the prompt.
        samples: Sequences of notes written a night.
        sample_tokens: Longest of them.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "chains": "samples",
        "chain_tokens": "sample_tokens",
    }

    store_bytes: Annotated[int, Ge(0)] = 100_000
    retrieved: Annotated[int, Ge(1)] = 4
    samples: Annotated[int, Ge(1)] = 24
    sample_tokens: Annotated[int, Ge(1)] = 160


class Notebook(InContext):
    """Writes notes about the day every night and reads the best of them before it answers.

    A text memory that the model itself writes and reads, as in MemoryBank (Zhong et al. 2023) and
    its like: with the day in context the model writes questions and answers, and each is a note;
    practised questions are notes as they are. The ``retrieved`` best BM25 hits (Robertson and
    Zaragoza 2009) stand before a question, in the order they were written, generated notes as
    documents and practised questions as demonstrations. The saved state is that text, never more
    than ``store_bytes``; nothing is trained.

    Departures:
        1. Notes are questions with answers, not summaries: what the embedded model can write. It
           reads them better as a document (``question answer.``) than as a demonstration.
        2. Notes are forgotten oldest first, not by how often they were of use. One that is written
           again becomes the newest.
    """

    Config: ClassVar[type] = NotebookSettings
    takes_endpoint: ClassVar[bool] = True
    title: ClassVar[str] = "Notebook"
    sources: ClassVar[str] = "MemoryBank, Zhong et al. 2023"
    checked: ClassVar[str] = "property: never over its byte budget"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "samples": [12, 24, 48],
        "sample_tokens": [80, 160, 240],
        "retrieved": [2, 4, 8],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.store = TextStore(self.config.store_bytes)
        self.practised: list[Pair] = []

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them for the notebook."""
        super().practice(questions, answers)
        self.practised += [(q.text, answer) for q, answer in zip(questions, answers, strict=True)]

    def context(self, question: Question) -> Sequence[Sequence[int]]:
        """The best notes, then the day so far."""
        notes = self.store.best(question.text, self.config.retrieved)
        return [*map(self._ids, notes), *self.parts]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Write down the day, then forget it."""
        log: dict[str, float] = {}
        notes = [Note(question, answer=answer) for question, answer in self.practised]
        if self.parts:
            if self._affordable(night):
                seed = night.derive_seed("notes")
                pairs = self.generate_qa(self.config.samples, self.config.sample_tokens, seed)
                generated = dict.fromkeys(Note(f"{asked} {answer}.") for asked, answer in pairs)
                notes = [*generated, *notes]
            else:
                log["stopped_by_budget"] = 1.0
        self._write(notes)
        log = {**log, "written": float(len(notes)), "notes": float(len(self.store.notes))}
        self.practised = []
        self.forget()
        return log

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every question is read after its notes, and every night writes samples about the day."""
        written = scale.days * config.samples * config.sample_tokens
        notes = scale.questions * config.retrieved * scale.pair_tokens
        read = scale.day_tokens + notes * scale.days / (scale.days + 1)
        return super().estimate(config, scale) + Cost(read, written)

    def save(self, path: Path) -> None:
        """Write the notebook."""
        self.store.save(path / "memory.jsonl")

    def load(self, path: Path) -> None:
        """Read the notebook."""
        self.store.load(path / "memory.jsonl")

    def _affordable(self, night: Night) -> bool:
        written = self.config.samples * self.config.sample_tokens
        read = self.config.samples * (sum(map(len, self.parts)) + 8)  # and the markers around
        return self.lm.affords(night, read=read, generated=written)

    def _ids(self, note: Note) -> list[int]:
        if note.answer is None:
            return self.lm.prompter.document(Document(note.text))
        return self.lm.prompter.demonstration(note.text, note.answer)

    def _write(self, notes: Sequence[Note]) -> None:
        """Add notes; one that is there already moves to the end.

        Raises:
            BadSetting: If the notebook cannot hold one of them.
        """
        largest = max((len(note.line) for note in notes), default=0)
        if largest > self.config.store_bytes:
            raise BadSetting(
                f"store_bytes={self.config.store_bytes}: one note takes {largest} bytes; "
                f"set store_bytes to {largest} or more"
            )
        new = dict.fromkeys(notes)
        kept = [note for note in self.store.notes if note not in new]
        self.store = TextStore(self.config.store_bytes)
        for note in [*kept, *new]:
            self.store.add(note)

"""Long documents: read a patient's file or a paper a day, answer without it the next morning.

LongHealth (L. Adams et al. 2024, arXiv:2401.14490; multiple choice) and QASPER (P. Dasigi et al.,
NAACL 2021, arXiv:2105.03011; answer F1), which the paper "Language Models Need Sleep" reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval

from sleepgym import Day, Document, Item, Stream, TaskFamily
from sleepgym.core import grading
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import plain
from sleepgym.core.types import Experience
from sleepgym_tasks.data.grades import f1
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.shots import ShotSettings, exemplar, introduce
from sleepgym_tasks.data.sources import find
from sleepgym_tasks.datasets.background import chunked
from sleepgym_tasks.datasets.long_documents import parse_longhealth, parse_qasper
from sleepgym_tasks.worlds.chronicles import LongDocument, invent
from sleepgym_tasks.worlds.language.seeds import derive

_PAGES = {
    "longhealth": "https://github.com/kbressem/LongHealth",
    "qasper": "https://allenai.org/data/qasper",
}
_INSTRUCTION = "Answer each question with a few words from the text, and nothing else."
_SHOT_CHARACTERS = 1500  # of an exemplar's text, at most
_SHOT_QUESTIONS = 6


@dataclass(frozen=True)
class LongDocsConfig(ShotSettings):
    """Settings of :class:`LongDocs`.

    Attributes:
        dataset: ``invented`` (chronicles, no files), ``longhealth`` (20 patients, 400 questions) or
            ``qasper``; bring the files.
        split: Of QASPER: ``dev``, ``test`` or ``train``.
        days: Days of the stream.
        documents_per_day: Documents a day: a patient's file, a paper, a chronicle.
        questions_per_document: Most questions about a document, drawn by the seed; all where None.
        passages: Passages of an invented chronicle, each with a question.
        chunk_tokens: Texts are cut at line breaks into parts of about so many tokens, of four
            characters; as published where None.
    """

    dataset: Literal["invented", "longhealth", "qasper"] = "invented"
    split: Literal["dev", "test", "train"] = "dev"
    days: Annotated[int, Ge(1)] = 4
    documents_per_day: Annotated[int, Ge(1)] = 1
    questions_per_document: Annotated[int, Ge(1)] | None = None
    passages: Annotated[int, Interval(ge=1, le=1000)] = 12
    chunk_tokens: Annotated[int, Interval(ge=16, le=1_000_000)] | None = None


class LongDocs(TaskFamily):
    """Read long documents; answer questions about them in the evening and ever after.

    A question of LongHealth names the patient and has its five answers as choices; one of QASPER
    opens with the paper's title, and its grade is the best F1 over the annotators' answers
    (``Unanswerable``, ``Yes``, ``No``, spans joined by commas, or free text, as in QASPER's
    evaluation). Kinds: ``choice``; ``extractive``, ``abstractive``, ``boolean``, ``unanswerable``
    by the first annotator. The seed draws documents and questions. Exemplars come from documents
    that the stream does not read: short parts, with questions whose answer stands in them.

    The preset ``longhealth`` reads ten patients on ten days (200 questions, as the paper asks).
    """

    Config = LongDocsConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "longhealth": {"dataset": "longhealth", "days": 10},
        "longhealth-400": {"dataset": "longhealth", "days": 20},
        "qasper": {"dataset": "qasper", "days": 16},
    }

    config: LongDocsConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the file is not at hand.
            BadData: If it is malformed.
            BadSetting: If there are not so many documents or exemplars.
        """
        config, items = self.config, ItemFactory()
        wanted = config.days * config.documents_per_day
        documents = self._documents(seed, wanted + config.shots)
        if wanted > len(documents):
            raise BadSetting(
                f"days={config.days} with documents_per_day={config.documents_per_day} of LongDocs:"
                f" needs {wanted} documents, and {config.dataset} has {len(documents)}"
            )
        days = []
        for number in range(1, config.days + 1):
            last = number * config.documents_per_day
            today = documents[last - config.documents_per_day : last]
            read = tuple(part for document in today for part in self._parts(document))
            exam = tuple(
                item for document in today for item in self._exam(document, number, seed, items)
            )
            days.append(Day(number, read, exam=exam))
        shown = introduce(config, _INSTRUCTION, lambda: self._exemplars(documents[wanted:]))
        return Stream(
            "LongDocs", plain(config), seed, tuple(days), key=items.key(), introduction=shown
        )

    def score(self, answer: str, target: str) -> float:
        """The right choice, letter by letter; F1 for QASPER."""
        return (
            f1(answer, target)
            if self.config.dataset == "qasper"
            else grading.choice(answer, target)
        )

    def _documents(self, seed: int, wanted: int) -> Sequence[LongDocument]:
        config = self.config
        match config.dataset:
            case "invented":
                return invent(derive(seed, "long documents"), wanted, config.passages)
            case "longhealth":
                names = ("benchmark_v5.json", "benchmark_v4.json", "benchmark.json")
                found = parse_longhealth(find("longhealth", names, self.data, _PAGES["longhealth"]))
            case "qasper":
                names = tuple(f"qasper-{config.split}-v{v}.json" for v in ("0.3", "0.2", "0.1"))
                found = parse_qasper(find("qasper", names, self.data, _PAGES["qasper"]))
        return shuffled(found, seed, "documents")

    def _exemplars(self, unread: Sequence[LongDocument]) -> list[Experience]:
        shown = [one for one in map(_exemplar, unread) if one.questions][: self.config.shots]
        if len(shown) < self.config.shots:
            raise BadSetting(
                f"shots={self.config.shots} of LongDocs: {len(shown)} of the {len(unread)} "
                f"documents of {self.config.dataset} that are not read have a short part with an "
                "answer in it"
            )
        return shown

    def _parts(self, document: LongDocument) -> Iterator[Document]:
        for title, text in document.parts:
            if self.config.chunk_tokens is None:
                yield Document(text, title)
            else:
                for chunk in chunked(text.split("\n"), self.config.chunk_tokens, "\n"):
                    yield Document(chunk, title)

    def _exam(
        self, document: LongDocument, number: int, seed: int, items: ItemFactory
    ) -> Iterator[Item]:
        asked = list(enumerate(document.questions))
        asked = shuffled(asked, seed, "questions", document.id)[
            : self.config.questions_per_document
        ]
        for place, question in asked:
            yield items.make(
                f"{document.id}/{place}",
                question.text,
                question.answers,
                question.kind,
                number,
                question.choices,
            )


def _exemplar(document: LongDocument) -> Experience:
    """The first short parts of a document with an answer in them, and these questions."""
    parts: list[Document] = []
    pairs: list[tuple[str, str]] = []
    room = _SHOT_CHARACTERS
    for asked in document.questions:
        answer = asked.answers[0]
        holding = (Document(text, title) for title, text in document.parts if answer in text)
        part = next((one for one in holding if one in parts or len(one.text) <= room), None)
        if part is None or len(pairs) == _SHOT_QUESTIONS:
            continue
        if part not in parts:
            parts.append(part)
            room -= len(part.text)
        pairs.append((asked.text, answer))
    return exemplar(parts, pairs)

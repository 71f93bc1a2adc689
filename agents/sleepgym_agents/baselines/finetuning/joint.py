"""The agent that keeps all data and retrains the base model every night: an upper bound."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym.core.errors import BadRun
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.finetuning.finetuning import (
    Finetuning,
    FinetuningSettings,
    answer_example,
    document_example,
)
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.baselines.trained_weights import TrainedWeights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.stores.text_store import Note, TextStore
from sleepgym_agents.training.local_model import LocalModel
from sleepgym_agents.training.optimise import Example, learned, optimise, plan
from sleepgym_agents.training.pseudo_rehearsal import (
    RehearsalSettings,
    collate_mixed,
    estimate_rehearsal,
    mix,
    rehearsing,
    sample_rehearsal,
)
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class JointSettings(RehearsalSettings, FinetuningSettings):
    """Settings of :class:`Joint`.

    Attributes:
        samples: Samples of questions and answers that the bare model writes about each document.
        sample_tokens: Longest of them.
        related: Most other documents that it reads beside the document: none for the first
            sample, one for the second and so on, then again none.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "chains": "samples",
        "chain_tokens": "sample_tokens",
    }

    epochs: int = 5
    batch_size: int = 8
    samples: Annotated[int, Ge(1)] = 7
    sample_tokens: Annotated[int, Ge(8)] = 160
    related: Annotated[int, Ge(0)] = 6


class Joint(Finetuning):
    """Keeps all material and trains the bare model anew every night on generated Q&A of all days.

    Joint (multi-task) training, the upper bound of continual learning: nothing can be forgotten,
    because nothing is left behind. Raw text teaches a small model next to nothing, so the bare
    model writes questions and answers about every document: with the document alone in context,
    where it errs least, and with ever more of the documents that share its words beside it, in the
    order they came. A document's Q&A is generated again when a new document comes to stand beside
    it, so that newer facts win and facts of different days meet. Practised questions are learned
    as they are, documents without Q&A as text. Its state, its cost and its material grow with the
    days: it is **outside any budget** (logged as ``outside_budget``), though a limit that is set is
    kept.

    Logs: ``dreams``, the generated questions that are kept.

    Departures:
        1. Generated Q&A stands in for the documents (see above).
        2. What the bare model knew is rehearsed as in ``self-replay``.

    Attributes:
        documents: All documents, oldest first.
        practised: All practised questions with their right answers.
        generated: Questions and answers about each document.
    """

    Config: ClassVar[type] = JointSettings
    title: ClassVar[str] = "Joint training"
    sources: ClassVar[str] = "upper bound of continual learning"
    checked: ClassVar[str] = "property: starts from the bare weights, trains on all days"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [3, 5, 10],
        "samples": [7, 14, 28],
        "related": [0, 3, 6],
        "rehearsed": [128, 256, 512],
        "rehearsal_weight": [2.0, 4.0, 8.0],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed)
        self.documents = TextStore(sys.maxsize)
        self.practised: list[Pair] = []
        self.generated: list[list[Pair]] = []

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and keep them."""
        super().study(documents)
        for document in documents:
            self.documents.add(Note(document.text, document.title))

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them."""
        super().practice(questions, answers)
        pairs = zip(questions, answers, strict=True)
        self.practised.extend((question.text, answer) for question, answer in pairs)

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Q&A about new documents and those near them; then all days anew, beside a rehearsal."""
        anew = min(
            (scale.days + 1) / 2, 1 + config.related
        )  # times that a document is written about
        written = scale.documents * anew * config.samples * config.sample_tokens
        kept = scale.documents * config.samples * config.sample_tokens * DISTINCT
        per_day = (kept + scale.practised * scale.item_tokens) / scale.days
        learned_tokens = config.epochs * per_day * scale.days * (scale.days + 1) / 2
        sequence = config.items_per_sequence * scale.pair_tokens
        steps = learned_tokens / (scale.days * config.batch_size * sequence)
        added = estimate_rehearsal(config, scale.days, max(config.epochs, steps))
        own = Cost(written / config.sample_tokens * scale.item_tokens, written, learned_tokens)
        return InContext.estimate(config, scale) + own + added

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Generate Q&A about what is new, then train the bare model on all days."""
        bare = LanguageModel.load(self.model, self.seed, self.meter)
        bare.prompter = self.lm.prompter
        log = self._train(bare, night) if self._generate(bare, night) else {}
        if learned(log):
            self.lm = self.weights.lm = bare
            self.weights.learned = True
        return log or {"steps": 0.0, "stopped_by_budget": 1.0}

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Train on all days, then forget the day's context."""
        log = super().sleep(night)
        return {**log, "dreams": float(sum(map(len, self.generated))), "outside_budget": 1.0}

    def save(self, path: Path) -> None:
        """Write the weights and all material."""
        super().save(path)
        notes = [[note.title, note.text] for note in self.documents.notes]
        material = {"documents": notes, "practised": self.practised, "dreams": self.generated}
        (path / "material.json").write_text(json.dumps(material))

    def load(self, path: Path) -> None:
        """Read the weights and all material.

        Raises:
            BadRun: If the material is not of that form.
        """
        super().load(path)
        file = path / "material.json"
        try:
            material = json.loads(file.read_text())
            for title, text in material["documents"]:
                self.documents.add(Note(text, title))
            self.practised = [(asked, answer) for asked, answer in material["practised"]]
            self.generated = [[(q, a) for q, a in pairs] for pairs in material["dreams"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadRun(f"{file}: not the material of joint: {error}") from error

    def _generate(self, bare: LanguageModel, night: Night) -> bool:
        """Write Q&A about new documents and their neighbours; False where it costs too much."""
        notes = list(self.documents.notes)
        new = set(notes[len(self.generated) :])
        near = [self._near(note) for note in notes]
        stale = [i for i, found in enumerate(near) if i >= len(self.generated) or new & set(found)]
        shown = [
            (notes[i], *near[i][: k % (self.config.related + 1)])
            for i in stale
            for k in range(self.config.samples)
        ]
        texts = {note: bare.prompter.document(Document(note.text, note.title)) for note in notes}
        parts = [
            self._fitting(bare, [texts[note] for note in notes if note in few]) for few in shown
        ]
        written = len(parts) * self.config.sample_tokens
        read = sum(len(part) for documents in parts for part in documents) + 8 * len(parts)
        if not bare.affords(night, read=read, generated=written):
            return False
        seed = night.derive_seed("dreams")
        samples = LocalModel(bare).write_qa(parts, tokens=self.config.sample_tokens, seed=seed)
        self.generated.extend([] for _ in range(len(notes) - len(self.generated)))
        for k, i in enumerate(stale):
            mine = samples[k * self.config.samples : (k + 1) * self.config.samples]
            self.generated[i] = [pair for items in mine for pair in items]
        return True

    def _near(self, note: Note) -> list[Note]:
        """The documents that share a document's words, the most like it first."""
        found = self.documents.search(f"{note.title} {note.text}")
        return list(islice((other for other in found if other != note), self.config.related))

    def _fitting(self, bare: LanguageModel, parts: list[list[int]]) -> list[list[int]]:
        """The parts that leave room for what is generated; the oldest go first."""
        room = bare.max_tokens - self.config.sample_tokens - 8
        while sum(map(len, parts)) > room and len(parts) > 1:
            parts = parts[1:]
        return [part[:room] for part in parts]

    def _train(self, bare: LanguageModel, night: Night) -> dict[str, float]:
        """Train on all days beside a rehearsal; nothing where that costs too much."""
        rehearsal = sample_rehearsal(bare, self.config, night)
        if not rehearsal:
            return {}
        rng = derive_rng(night.derive_seed("order"))
        steps = plan(bare, self._examples(bare), self.config, rng)
        mixed = mix(steps, rehearsal, self.config.rehearsed_batch, rng)
        loss = rehearsing(self.config.rehearsal_weight)
        return optimise(bare, mixed, self.config, night, loss, collate_mixed, capture=True)

    def _examples(self, bare: LanguageModel) -> list[Example]:
        """Q&A by majority, practised questions, and the text of documents without Q&A."""
        pairs = [*majority_answers(self.generated), *self.practised]
        documents = zip(self.documents.notes, self.generated, strict=True)
        others = [Document(note.text, note.title) for note, own in documents if not own]
        return [
            *(answer_example(bare.prompter, question, answer) for question, answer in pairs),
            *(document_example(bare.prompter, document) for document in others),
        ]


def majority_answers(generated: Sequence[Sequence[Pair]]) -> list[Pair]:
    """Each question with the answer that was written most often; of equals, the last."""
    counts: dict[str, Counter[str]] = {}
    for pairs in generated:
        for question, answer in pairs:
            counts.setdefault(question, Counter())[answer] += 1
    found = []
    for question, answers in counts.items():
        most = max(answers.values())
        found.append((question, [answer for answer, n in answers.items() if n == most][-1]))
    return found

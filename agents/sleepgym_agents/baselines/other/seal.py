"""The agent that fine-tunes itself on self-edits: what it writes about what it read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Interval

from sleepgym import Document, Night, Question
from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.finetuning.finetuning import FinetuningSettings, answer_example
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.baselines.trained_weights import LoraSettings, TrainedWeights
from sleepgym_agents.lm.checkpoints import load_weights
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.optimise import Example, learned, optimise, plan
from sleepgym_agents.training.qa_generation import (
    ASKED,
    REQUESTS,
    DreamForm,
    Pair,
    parse_qa,
    parse_texts,
)

EDITOR_RANK, EDITOR_ALPHA = 64, 128.0  # SEAL's ReST-EM adapter
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "own": {},
    "single-passage": {
        "edits": 1,
        "each": "passage",
        "epochs": 10,
        "batch_size": 1,
        "items_per_sequence": 1,
        "learning_rate": 1e-3,
        "rank": 32,
        "alpha": 64.0,
        "top_p": 0.95,
    },
    "continued-pretraining": {
        "edits": 5,
        "each": "day",
        "epochs": 3,
        "batch_size": 8,
        "items_per_sequence": 1,
        "learning_rate": 1e-3,
        "rank": 32,
        "alpha": 64.0,
        "top_p": 0.95,
    },
}


@dataclass(frozen=True)
class SealSettings(LoraSettings, FinetuningSettings):
    """Settings of :class:`Seal`: those of fine-tuning, the inner loop's adapter, and the edits.

    Attributes:
        preset: ``single-passage`` and ``continued-pretraining`` are SEAL's settings, ``own`` those
            of this page; what is set beside a preset overrides it.
        edits: Self-edits sampled about a passage, each a list of implications.
        edit_tokens: Longest of them.
        dream_form: What a self-edit is: ``questions`` with their answers, ``implications`` (as in
            SEAL, one a line), or ``rewritings`` of the passage.
        top_p: Implications are sampled from the likeliest tokens that reach this sum.
        each: Whether an inner loop (a LoRA adapter, trained and merged) takes one passage or all
            of the day.
        edit_adapter: File of an adapter that :func:`sleepgym_agents.outer_loops.seal.rest_em`
            trained; it is active while self-edits are written. Empty is none.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    renamed: ClassVar[Mapping[str, str | None]] = {"dreamer": "edit_adapter"}

    preset: Literal["own", "single-passage", "continued-pretraining"] = "own"
    edits: Annotated[int, Ge(1)] = 4
    edit_tokens: Annotated[int, Ge(8)] = 160
    dream_form: DreamForm = "questions"
    top_p: Annotated[float, Interval(gt=0, le=1)] = 1.0
    each: Literal["passage", "day"] = "day"
    edit_adapter: str = ""


class Seal(InContext):
    """Writes implications of every passage, trains a LoRA adapter on them, and merges it.

    Self-Adapting Language Models (SEAL; Zweiger et al. 2025, arXiv:2506.10943), knowledge
    incorporation. A self-edit is a list of implications that the model writes with the passage in
    its context; the inner loop trains a LoRA adapter (rank 32, alpha 64, 10 epochs, learning rate
    1e-3) on each implication and on the passage itself, and merges it. The outer loop, ReST-EM on
    training streams, is :mod:`sleepgym_agents.outer_loops.seal`; it yields the ``edit_adapter``.
    The saved state is all weights.

    Departures:
        1. Implications are questions with their answers, the form that the embedded model writes;
           ``dream_form=implications`` asks a model that takes requests for SEAL's own.
        2. Batches are padded to their longest sequence, and padding counts nothing; SEAL pads to
           2,048 tokens and trains on the padding.
        3. Everything random comes from the run's seed; SEAL seeds from the clock.
        4. What ReST-EM trains is an adapter of its own; SEAL's changes the model that is edited.
        5. Several implications are packed into one sequence (not in SEAL's presets).
        6. All edits of a night are written by the evening's self, before the first is merged.
        7. Practised questions are learned with their right answers beside the edits.
    """

    Config: ClassVar[type] = SealSettings
    title: ClassVar[str] = "SEAL"
    sources: ClassVar[str] = "Zweiger et al. 2025, arXiv:2506.10943"
    checked: ClassVar[str] = (
        "inner-loop settings by name; padding counts nothing; selection and SFT of ReST-EM "
        "with a stubbed reward; no published figure"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [3e-4, 1e-3, 2e-3],
        "epochs": [5, 10, 20],
        "edits": [2, 4, 8],
        "items_per_sequence": [1, 3, 6],
        "each": ["passage", "day"],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed)
        self.texts: list[list[int]] = []
        self.titles: list[str] = []
        self.written: dict[str, float] = {}
        self.answers: list[Example] = []

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents and keep them for the night."""
        super().study(documents)
        self.texts.extend(self.lm.prompter.document(document) for document in documents)
        self.titles.extend(document.title for document in documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them for the night."""
        super().practice(questions, answers)
        for question, answer in zip(questions, answers, strict=True):
            self.answers.append(answer_example(self.lm.prompter, question.text, answer))

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Edit, train, merge; then forget the day's text."""
        log: dict[str, float] = {"implications": 0.0, "steps": 0.0}
        self.written = {}
        for number, (examples, implications) in enumerate(self._loops(night)):
            seed = night.derive_seed("lora", number)
            with temporary_lora(self.lm, self.config.rank, self.config.alpha, seed, merge=True):
                rng = derive_rng(night.derive_seed("order", number))
                steps = plan(self.lm, examples, self.config, rng)
                done = optimise(self.lm, steps, self.config, night, capture=True)
            self.weights.learned |= learned(done)
            done["steps"] += log["steps"]
            log |= {**done, "implications": log["implications"] + implications}
            if "stopped_by_budget" in done:
                break
        self.texts, self.titles, self.answers = [], [], []
        self.forget()
        return {**log, **self.written}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Self-edits of every document, and the inner loops over these and the day."""
        written = scale.documents * config.edits * config.edit_tokens
        read = scale.documents * config.edits * scale.item_tokens
        trained = config.epochs * (scale.day_tokens + DISTINCT * written)
        return super().estimate(config, scale) + Cost(read, written, trained)

    def edit(
        self, texts: Sequence[Sequence[int]], titles: Sequence[str], night: Night
    ) -> list[list[Example]]:
        """What is learned of each text's edits, by the model with its edit adapter."""
        config, form = self.config, self.config.dream_form
        prompts = edit_prompts(self.lm, texts, config.edits, form)
        count, longest = len(prompts), config.edit_tokens
        while count and not self.lm.affords(
            night, read=sum(map(len, prompts[:count])), generated=longest * count
        ):
            count -= 1
        with edit_adapter(self.lm, config.edit_adapter):
            written = sample_edits(
                self.lm, prompts[:count], longest, config.top_p, night.derive_seed("edits"), form
            )
        found: list[list[Example]] = [[] for _ in texts]
        parsed = 0
        for place, title in enumerate(titles):
            own = written[place * config.edits : (place + 1) * config.edits]
            if form == "questions":
                samples = [parse_qa(self.lm.prompter, ids) for ids in own]
                pairs = dict.fromkeys(pair for sample in samples for pair in sample)
                found[place] = implications(self.lm, list(pairs))
            else:
                samples = [parse_texts(self.lm.prompter, ids, form) for ids in own]
                lines = dict.fromkeys(line for sample in samples for line in sample)
                found[place] = statements(self.lm, list(lines), title)
            parsed += sum(map(bool, samples))
        self.written = {"dream_samples": float(count), "dream_samples_parsed": float(parsed)}
        return found

    def _loops(self, night: Night) -> Iterator[tuple[list[Example], int]]:
        """The examples of each inner loop, and how many implications are among them."""
        documents = [Example.joined((ids, 1.0)) for ids in self.texts]
        learned = self.edit(self.texts, self.titles, night)
        if self.config.each == "day":
            everything = [*documents, *(e for own in learned for e in own), *self.answers]
            if everything:
                yield everything, sum(map(len, learned))
            return
        for document, own in zip(documents, learned, strict=True):
            yield [document, *own], len(own)
        if self.answers:
            yield self.answers, 0


def edit_prompts(
    lm: LanguageModel,
    texts: Sequence[Sequence[int]],
    count: int,
    form: DreamForm = "questions",
) -> list[list[int]]:
    """Prompts for self-edits: each text ``count`` times, in order."""
    ask, wanted = lm.prompter, REQUESTS.get(form)
    prompts = [ask.request([ids], wanted) if wanted else ask.dream_prompt([ids]) for ids in texts]
    return [prompt for prompt in prompts for _ in range(count)]


def sample_edits(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    top_p: float,
    seed: int,
    form: DreamForm = "questions",
) -> list[list[int]]:
    """Continuations as token ids: questions at temperature 1, other texts at that of a request."""
    temperature = 1.0 if form == "questions" else ASKED[0]
    return generate(
        lm, prompts, tokens, temperature=temperature, top_p=top_p, seed=seed, stop_at_answer=False
    )


def implications(lm: LanguageModel, pairs: Sequence[Pair]) -> list[Example]:
    """What is learned of an edit: every token of each question and answer."""
    return [Example.joined((lm.prompter.demonstration(*pair), 1.0)) for pair in pairs]


def statements(lm: LanguageModel, lines: Sequence[str], title: str) -> list[Example]:
    """What is learned of implications and rewritings: each as a document under the title."""
    return [Example.joined((lm.prompter.document(Document(line, title)), 1.0)) for line in lines]


@contextmanager
def edit_adapter(lm: LanguageModel, file: str) -> Iterator[None]:
    """Within this context the model has the adapter of a file, if one is named."""
    if not file:
        yield
        return
    with temporary_lora(lm, EDITOR_RANK, EDITOR_ALPHA, derive_seed(0, "dreamer")):
        load_weights(lm.model, Path(file), "lora_")
        with torch.no_grad():
            yield

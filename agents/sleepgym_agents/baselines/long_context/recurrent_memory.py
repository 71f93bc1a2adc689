"""The agent that passes memory tokens from segment to segment, and from day to day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from safetensors.torch import save_file

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import MissingData
from sleepgym.core.rng import derive_seed
from sleepgym.core.types import Introduction
from sleepgym_agents.baselines.base_agent import AnswerSettings, ModelAgent
from sleepgym_agents.baselines.long_context.memory_model import MemoryModel, segments_of
from sleepgym_agents.baselines.long_context.trained_parts import trained_part
from sleepgym_agents.lm.checkpoints import read_tensors

AGENT = "recurrent-memory"
FILE = "memory.safetensors"
# Of a model that learned nothing yet.
UNTRAINED = {"memory_tokens": 320, "span_tokens": 2, "rank": 16, "alpha": 32.0}


@dataclass(frozen=True)
class RecurrentMemorySettings(AnswerSettings):
    """Settings of :class:`RecurrentMemory`.

    Attributes:
        segment_tokens: Longest text between two updates of the memory.
    """

    segment_tokens: Annotated[int, Ge(16)] = 128


class RecurrentMemory(ModelAgent):
    """Reads in segments and keeps nothing of them but memory tokens, which it rewrites each time.

    Recurrent Memory Transformer (Bulatov et al. 2022, arXiv:2207.06881): memory tokens stand before
    and behind a segment of text; what the last layer says at those behind it stands before the next
    one. Questions are read behind the memory alone, in the evening as in the morning: a segment is
    gone once it was read. The memory goes on from day to day; nights change nothing. The saved
    state is the memory tokens. They were trained once for a base model, on streams of seeds below
    100 (``sleepgym prepare-agent recurrent-memory``).

    A memory that learned nothing yet is a window of the last tokens read. What is trained is to
    read more than one token of text from each memory token, and to change a memory before it moves
    on.

    Departures:
        1. The base model is frozen; a LoRA adapter, always active, the first memory and a matrix
           were trained. All of these count as added parameters.
        2. The start marker, an attention sink, stands before the memory.
        3. Trained to answer and to repeat the last text; the paper predicts every segment.
        4. The next memory is the memory moved on (the last tokens of memory and text, a memory
           token being the mean of the embeddings of ``span_tokens`` tokens, the first of which
           counts most), changed by what the last layer says there, times the matrix, which is zero
           before training. The paper's is what the last layer says: a base model that was trained
           without a memory does not read the output of its last layer as it reads embeddings.
        5. Behind a segment stands the memory moved on; the paper's is the one before the segment.
           A memory token has the position of its text where it is read, and the one behind its text
           where it is written.
        6. There is no associative matrix a layer, as in ARMT (Rodkin et al. 2024,
           arXiv:2407.04841): the memory is tokens.
    """

    Config: ClassVar[type] = RecurrentMemorySettings
    title: ClassVar[str] = "Recurrent memory (RMT)"
    sources: ClassVar[str] = "Bulatov et al. 2022, arXiv:2207.06881"
    checked: ClassVar[str] = (
        "the recurrence equals a forward pass by hand; untrained, it is a window that the base "
        "model reads; gradients through k segments; bytes"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {"segment_tokens": [64, 128, 256]}

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        part = trained_part(AGENT, model, self.lm)
        card = UNTRAINED if part is None else part.card
        self.lm: MemoryModel = MemoryModel(
            self.lm,
            card["memory_tokens"],
            card["rank"],
            card["alpha"],
            card["span_tokens"],
            derive_seed(seed, "recurrent memory"),
        )
        if part is not None:
            try:
                self.lm.take_trained({n: x.float() for n, x in part.tensors.items()})
            except ValueError as error:
                raise MissingData(f"the part of {AGENT} for model {model!r}: {error}") from error
        self.segments = 0

    def introduce(self, introduction: Introduction) -> None:
        """Let every prompt begin with the task's instruction and exemplars."""
        super().introduce(introduction)
        self.lm.introduced()

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents into the memory."""
        self._read(map(self.lm.prompter.document, documents))

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read questions with their right answers into the memory."""
        pairs = zip(questions, answers, strict=True)
        self._read(self.lm.prompter.demonstration(q.text, answer) for q, answer in pairs)

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Nothing to consolidate: the memory is kept as it is."""
        return {"segments": float(self.segments)}

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """The day is read by day and for the night; half of the answers run on to the longest."""
        segments = max(scale.days, scale.day_tokens / config.segment_tokens)
        read = 2 * (scale.day_tokens + segments * 2 * UNTRAINED["memory_tokens"])
        answered = scale.free_questions * config.max_answer_tokens / 2
        return Cost(scale.asked_tokens + read, answered)

    @property
    def added_parameters(self) -> int:
        """Those of the adapter and the first memory, and the numbers of the memory."""
        return self.lm.trained_parameters + self.lm.memory.numel()

    def save(self, path: Path) -> None:
        """Write the memory, once something was read."""
        if self.lm.memory.data_ptr() != self.lm.first_memory.data_ptr():
            save_file({"memory": self.lm.memory.contiguous().cpu()}, path / FILE)

    def load(self, path: Path) -> None:
        """Read the memory."""
        if (path / FILE).is_file():
            self.lm.remember(read_tensors(path / FILE)["memory"].to(self.lm.device))

    def _read(self, parts: Iterable[Sequence[int]]) -> None:
        longest = min(self.config.segment_tokens, self.lm.max_tokens - len(self.lm.prompter.start))
        for segment in segments_of(parts, longest):
            self.lm.take_in(segment)
            self.segments += 1

    def _prompt(self, question: Question, answer_tokens: int = 0) -> list[int]:
        return super()._prompt(question, answer_tokens)[len(self.lm.prompter.start) :]

"""The agent that only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym_agents.baselines.base_agent import AnswerSettings, ModelAgent
from sleepgym_agents.lm.scoring import score_continuations


@dataclass(frozen=True)
class InContextSettings(AnswerSettings):
    """Settings of :class:`InContext`.

    Attributes:
        context_tokens: Window for the day's documents and demonstrations; cut to what the model's
            positions leave beside a question and its answer.
    """

    context_tokens: Annotated[int, Ge(0)] = 2048


class InContext(ModelAgent):
    """Keeps the day in the prompt, newest last; the night wipes it.

    In-context learning (Brown et al. 2020) over a stream: documents and demonstrations stand
    before every question in the order they came. When they exceed the window, the oldest go whole.
    The saved state is empty.

    Departures:
        1. Demonstrations are all that was practised, not a selection balanced over labels.
    """

    Config: ClassVar[type] = InContextSettings
    takes_endpoint: ClassVar[bool] = True
    title: ClassVar[str] = "In context"
    sources: ClassVar[str] = "Brown et al. 2020"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "context_tokens": [512, 1024, 2048, 4096],
        "max_answer_tokens": [16, 32, 64],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.parts: list[Any] = []  # token ids; for a served model documents and demonstrations

    def study(self, documents: Sequence[Document]) -> None:
        """Take documents into the context."""
        self._take(self.lm.prompter.document(document) for document in documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Take questions with their right answers into the context."""
        pairs = zip(questions, answers, strict=True)
        self._take(self.lm.prompter.demonstration(q.text, answer) for q, answer in pairs)

    def context(self, question: Question) -> Sequence[Sequence[int]]:
        """The day so far."""
        return self.parts

    def generate_qa(self, samples: int, tokens: int = 240, seed: int = 0) -> list[tuple[str, str]]:
        """Questions and answers that the model writes about its context.

        Args:
            samples: Sequences to sample, at temperature 1.
            tokens: Longest sequence.
            seed: Of the sampling.
        """
        written = self.asked.write_qa([self.parts] * samples, tokens=tokens, seed=seed)
        return [pair for sample in written for pair in sample]

    def matches_greedy(self, questions: Sequence[Question], answers: Sequence[str]) -> list[bool]:
        """Whether greedy decoding would give exactly these answers, by one teacher-forced pass."""
        prompts = [self._prompt(question) for question in questions]
        gold = [self.lm.prompter.answer(answer) for answer in answers]
        return [scored.exact for scored in score_continuations(self.lm, prompts, gold)]

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As without context; and the day is read once for every round of questions."""
        return super().estimate(config, scale) + Cost(read=scale.context_tokens)

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Forget the day."""
        self.forget()
        return {}

    def forget(self) -> None:
        """Wipe the context."""
        self.parts = []

    def _take(self, parts) -> None:
        self.parts.extend(parts)
        limit = min(self.config.context_tokens, self.lm.max_tokens // 2)
        size = sum(map(len, self.parts))
        while size > limit:
            size -= len(self.parts.pop(0))

"""What an agent does with its language model in one stream, estimated before anything is run."""

from __future__ import annotations

from dataclasses import dataclass

DISTINCT = 0.5  # share of sampled Q&A tokens that are well-formed and no duplicates
ANSWER_LENGTH = 1.5  # of an answer, in lengths of the right one: wrong ones run on


@dataclass(frozen=True)
class Scale:
    """The size of one stream.

    Attributes:
        days: Nights.
        documents: To study, in all.
        day_tokens: Studied and practised, in all.
        asked_tokens: Of all questions asked, each with the labels that it offers.
        free_questions: Asked without choices.
        practised: Questions of practice, in all.
        questions: Questions asked, in all.
        answer_tokens: Of the right answers to questions without choices.
        context_tokens: Of the day so far, once for each practice and evening exam.
        opening_tokens: Of instruction and exemplars, once for each practice and exam.
    """

    days: int
    documents: int
    day_tokens: float
    asked_tokens: float
    free_questions: int
    practised: int = 0
    questions: int = 0
    answer_tokens: float = 0.0
    context_tokens: float = 0.0
    opening_tokens: float = 0.0

    def answered_tokens(self, longest: int) -> float:
        """Generated to answer all questions without choices, at most ``longest`` tokens each."""
        return min(ANSWER_LENGTH * self.answer_tokens, self.free_questions * longest)

    @property
    def item_tokens(self) -> float:
        """Of a document or practised question, on average."""
        return self.day_tokens / max(1, self.documents + self.practised)

    @property
    def question_tokens(self) -> float:
        """Of a question with its labels, on average."""
        return self.asked_tokens / max(1, self.questions)

    @property
    def pair_tokens(self) -> float:
        """Of a question with its answer, on average."""
        return self.question_tokens + self.answer_tokens / max(1, self.free_questions)


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        read: Tokens read.
        generated: Tokens sampled.
        trained: Tokens trained on, each epoch counted.
    """

    read: float = 0.0
    generated: float = 0.0
    trained: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.read + other.read,
            self.generated + other.generated,
            self.trained + other.trained,
        )

    def flops(self, parameters: float) -> float:
        """Floating-point operations, as :class:`sleepgym.Meter` counts them."""
        return parameters * (2 * (self.read + self.generated) + 6 * self.trained)

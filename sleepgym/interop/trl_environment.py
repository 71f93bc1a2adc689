"""A day of a stream as an environment of TRL's ``GRPOTrainer(environment_factory=...)``.

TRL's episode is one rollout in one context, and its weights outlive it: the trainer is the learner,
and the night is where it trains. A row of the data set names a day; ``reset`` gives the day to read
and its evening exam, or with ``closed_book`` the exam alone, which only the weights can answer.

TRL takes every public method of the class but ``reset`` and ``get_reward`` as a tool of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sleepgym.core.env import ContinualEnv, introduction_texts, make_env
from sleepgym.core.schedule import Step
from sleepgym.core.types import Phase
from sleepgym.interop.contract import BadRequest
from sleepgym.interop.prompts import introduction_prompt, parse_answers, phase_prompt


class DayEnvironment:
    """One exam on one day."""

    def __init__(self, env_id: str, settings: dict[str, Any] | None = None) -> None:
        """Make the environment; ``functools.partial`` of this class is a factory for TRL."""
        self._env: ContinualEnv = make_env(env_id, **(settings or {}))
        self._step: Step | None = None
        self._answers: dict[int, str] = {}

    def reset(self, seed: int = 0, day: int = 1, closed_book: bool = False, **row: Any) -> str:
        """The prompt of a day.

        Args:
            seed: Of the stream.
            day: From 1.
            closed_book: Whether the day's material is left out.
            **row: What else the data set's row holds.

        Raises:
            BadRequest: If the stream has no such day, or the day asks nothing.
        """
        self._answers = {}
        self._env.reset(seed=seed)
        steps = [step for step in self._env.steps if step.day == day]
        exams = [step for step in steps if step.phase is Phase.EXAM and not step.closed_book]
        if not exams:
            raise BadRequest(f"day={day}: the stream of seed {seed} has no exam on that day")
        self._step = exams[0]
        read = [step for step in steps if step.phase is Phase.STUDY and not closed_book]
        documents = [document for step in read for document in step.documents]
        asked = self._step.questions
        assert self._env.stream is not None
        introduction = introduction_prompt(introduction_texts(self._env.stream.introduction))
        exam = phase_prompt(
            {
                "feedback": [],
                "documents": [{"title": d.title, "text": d.text} for d in documents],
                "questions": [{"text": q.text, "choices": list(q.choices)} for q in asked],
            }
        )
        return "\n\n".join(part for part in (introduction, exam) if part)

    def answer(self, number: int, text: str) -> str:
        """Give the answer to one question of the exam.

        Args:
            number: The question's number, from 1.
            text: The answer, in a few words.

        Returns:
            What is left to answer; never whether it was right.
        """
        wanted = len(self._step.items) if self._step else 0
        if type(number) is not int or not 1 <= number <= wanted:
            return f"There is no question {number!r:.20}: they are 1 to {wanted}."
        self._answers[number] = str(text)
        left = wanted - len(self._answers)
        return f"Noted. {left} to go." if left else "Noted. All are answered."

    def get_reward(self) -> float:
        """The mean score of what was answered through the tool, in [0, 1]."""
        wanted = len(self._step.items) if self._step else 0
        return self._grade([self._answers.get(number, "") for number in range(1, wanted + 1)])

    def _grade(self, answers: Sequence[str]) -> float:
        if self._step is None:
            return 0.0
        scores = self._env.grade(self._step, answers)["scores"]
        return float(sum(scores) / len(scores))

    def _grade_text(self, reply: str) -> float:
        return self._grade(parse_answers(reply, len(self._step.items) if self._step else 0))


def day_environments(env_id: str, **settings: Any) -> partial[DayEnvironment]:
    """A factory for ``GRPOTrainer(environment_factory=...)``."""
    return partial(DayEnvironment, env_id, settings)


def text_reward(
    completions: Sequence[Any], environments: Sequence[DayEnvironment], **row: Any
) -> list[float]:
    """A reward function for models that write their answers instead of calling the tool.

    Args:
        completions: Texts, or conversations of which the last message counts.
        environments: What TRL made, one a completion.
        **row: Columns of the data set.

    Returns:
        The mean score of each, in [0, 1].
    """
    rewards = []
    for completion, environment in zip(completions, environments, strict=True):
        text = completion if isinstance(completion, str) else completion[-1].get("content") or ""
        rewards.append(environment._grade_text(str(text)))
    return rewards

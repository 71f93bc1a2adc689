"""What a day teaches an agent while it is awake, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sleepgym.core.agent import Agent
from sleepgym.core.schedule import Step
from sleepgym.core.types import AnswerKey, Day, Experience, Phase

__all__ = ["Experience", "experience_of", "experiences_of", "tell"]


def tell(agent: Agent, experiences: Iterable[Experience]) -> None:
    """Let an agent read and practise, in order."""
    for experience in experiences:
        if experience.documents:
            agent.study(experience.documents)
        if experience.questions:
            agent.practice(experience.questions, experience.answers)


def experience_of(step: Step, key: AnswerKey) -> Experience:
    """What a STUDY or PRACTICE phase teaches."""
    if step.phase is Phase.STUDY:
        return Experience(documents=step.documents)
    return Experience((), step.questions, tuple(key[item.id][0] for item in step.items))


def experiences_of(day: Day, key: AnswerKey) -> Iterator[Experience]:
    """What a whole day teaches, outside of a run: questions without the labels of other days."""
    if day.documents:
        yield Experience(documents=day.documents)
    for items in day.practice:
        questions = tuple(item.question for item in items)
        yield Experience((), questions, tuple(key[item.id][0] for item in items))

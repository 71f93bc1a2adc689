"""What the questions of a stream give away about each other's answers."""

from __future__ import annotations

from sleepgym_tasks.worlds.ledger import Fact
from sleepgym_tasks.worlds.questions import Question

Place = tuple[str, str]  # subject and attribute


class Disclosure:
    """Refuses a question that another one answers, or that answers another one.

    Any two questions of a stream may meet in one exam (the first and the last exam ask about all
    days), so the rule is for the whole stream: a name that one question mentions is the answer of
    no other, and a fact that one question takes as a step (the link of a two-hop question, the
    nickname behind an alias) is asked by no other. The first rules out the same fact asked in both
    directions, a link beside its converse, and guessing among the names that an exam mentions.
    """

    def __init__(self) -> None:
        self._mentioned: set[str] = set()
        self._answers: set[str] = set()
        self._steps: set[Fact] = set()
        self._asked: set[Fact] = set()
        self._used: set[Place] = set()
        self._alone: set[Place] = set()

    def allows(self, question: Question) -> bool:
        """Whether the question may join those added so far."""
        *steps, asked = question.needs
        return (
            self._mentioned.isdisjoint(question.answers)
            and self._answers.isdisjoint(_mentioned(question))
            and self._asked.isdisjoint(steps)
            and asked not in self._steps
            and self._alone.isdisjoint(map(_place, question.needs))
        )

    def is_used(self, subject: str, attribute: str) -> bool:
        """Whether a question is about this of the subject, or takes it as a step."""
        return (subject, attribute) in self._used

    def reserve(self, fact: Fact) -> None:
        """Let no question be about this of the subject, with any value, until released."""
        self._alone.add(_place(fact))

    def release(self, fact: Fact) -> None:
        """Allow questions about what was reserved."""
        self._alone.discard(_place(fact))

    def add(self, question: Question, alone: bool = False) -> None:
        """Count the question among those asked.

        Args:
            question: The question.
            alone: Whether no other may be about the same of the same subject.
        """
        self._used.update(map(_place, question.needs))
        if alone:
            self._alone.update(map(_place, question.needs))
        *steps, asked = question.needs
        self._mentioned |= _mentioned(question)
        self._answers.update(question.answers)
        self._steps.update(steps)
        self._asked.add(asked)


def _place(fact: Fact) -> Place:
    return fact.subject, fact.attribute


def _mentioned(question: Question) -> set[str]:
    names = {name for fact in question.needs for name in (fact.subject, fact.value)}
    return {name for name in names if name in question.text}

"""What the questions of a stream give away about each other's answers."""

from __future__ import annotations

from sleepgym_tasks.worlds.ledger import Fact
from sleepgym_tasks.worlds.questions import Question


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

    def allows(self, question: Question) -> bool:
        """Whether the question may join those added so far."""
        *steps, asked = question.needs
        return (
            self._mentioned.isdisjoint(question.answers)
            and self._answers.isdisjoint(_mentioned(question))
            and self._asked.isdisjoint(steps)
            and asked not in self._steps
        )

    def add(self, question: Question) -> None:
        """Count the question among those asked."""
        *steps, asked = question.needs
        self._mentioned |= _mentioned(question)
        self._answers.update(question.answers)
        self._steps.update(steps)
        self._asked.add(asked)


def _mentioned(question: Question) -> set[str]:
    names = {name for fact in question.needs for name in (fact.subject, fact.value)}
    return {name for name in names if name in question.text}

"""Invented chronicles: long documents about people, companies and towns, with questions."""

from __future__ import annotations

import random
from typing import NamedTuple

from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.values import VALUES
from sleepgym_tasks.worlds.passages import Author, Manner
from sleepgym_tasks.worlds.questions import Asker


class Asked(NamedTuple):
    """A question about a document.

    Attributes:
        text: The question, with the document's name.
        answers: The accepted answers.
        choices: The allowed answers; empty where the answer is free text.
        kind: What it probes.
    """

    text: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    kind: str


class LongDocument(NamedTuple):
    """A document in titled parts, and its questions."""

    id: str
    parts: tuple[tuple[str, str], ...]
    questions: tuple[Asked, ...]


def invent(rng: random.Random, count: int, passages: int) -> list[LongDocument]:
    """Chronicles of invented people, companies and towns; five choices a question.

    Args:
        rng: Source of randomness.
        count: Chronicles; no entity is in two of them.
        passages: Passages of a chronicle, each with five facts and a question about one of them.
    """
    register = Register(rng)
    documents = []
    for number in range(1, count + 1):
        still = Manner(facts=(5, 5), returns=0, updates=0, ties=0, satellites=0, aliases=0)
        author = Author(rng, register, manner=still)
        written = author.write(passages)
        asker = Asker(rng, author.ledger)
        title = f"Chronicle {number}"
        facts = [fact for passage in written for fact in passage.facts]
        questions = []
        for passage in written:
            fact = rng.choice(passage.facts)
            kind = fact.spec.value
            others = {f.value for f in facts if f.spec.value == kind} | set(VALUES.get(kind, ()))
            others -= {fact.value, fact.subject}
            while len(others) < 4:  # names of which the chronicle has too few
                others.add(register.fresh(kind))
            choices = [fact.value, *rng.sample(sorted(others), 4)]
            rng.shuffle(choices)
            questions.append(
                Asked(asker.direct(fact).text, (fact.value,), tuple(choices), "choice")
            )
        parts = tuple((title, passage.text) for passage in written)
        documents.append(LongDocument(title, parts, tuple(questions)))
    return documents

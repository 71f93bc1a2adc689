"""Kinds that systems fail: facts taken back, what follows from a change, absence, dates, needs.

Every question whose right answer is "not known" has a twin of the same form whose answer is known,
so that abstaining is right as often as it is wrong. A fact that such a pair is about is asked in no
other question and is no step to one: the others of an exam do not tell whether it is known.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from sleepgym_tasks.worlds.almanac.disclosure import Disclosure
from sleepgym_tasks.worlds.language.phrases import BY_OWNER, begin, follow
from sleepgym_tasks.worlds.language.phrases_hard import (
    AS_OF,
    DENIALS,
    IF_KNOWN,
    NEEDS,
    UNKNOWN,
)
from sleepgym_tasks.worlds.ledger import Fact, Told
from sleepgym_tasks.worlds.passages import Author, Passage
from sleepgym_tasks.worlds.questions import Asker, Question

HardKind = Literal["deletion", "cascade", "absence", "as-of", "implicit"]


class Hard(NamedTuple):
    """A question to be asked.

    Attributes:
        question: The question and its key.
        kind: Its kind in the stream.
        lasting: Whether it stays true whatever is told later.
        alone: Whether no other question may be about its fact.
    """

    question: Question
    kind: str
    lasting: bool = False
    alone: bool = False


class HardQuestions:
    """Takes facts back, and asks the hard kinds, day by day.

    Args:
        author: Writes the passages and keeps the truth.
        disclosure: What the questions asked so far give away.
    """

    def __init__(self, author: Author, disclosure: Disclosure) -> None:
        self._author, self._disclosure = author, disclosure
        self._past: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        self._reserved: list[Told] = []  # asked by no question, so that they may be taken back
        self._deleted: list[tuple[Told, Told]] = []  # of today, each with one that still holds

    def take_back(self, rng: random.Random, passages: list[Passage], day: int, count: int) -> str:
        """Remember what today tells, and make some older facts untrue.

        Returns:
            The text that says so; empty where there is nothing to take back.
        """
        ledger = self._author.ledger
        for told in (told for passage in passages for told in passage.told):
            key = (told.fact.subject, told.fact.attribute)
            if not self._past[key] and (born := ledger.base.get(key[0], {}).get(key[1])):
                self._past[key].append((0, born))
            self._past[key].append((day, told.fact.value))
        busy = {told.fact.subject for passage in passages for told in passage.told}
        self._reserved = [t for t in self._reserved if self._may_change(t)]
        old = [told for told in self._reserved if told.fact.subject not in busy]
        rng.shuffle(old)
        half = min(count, len(old) // 2)
        self._deleted = list(zip(old[:half], old[half : 2 * half], strict=True))
        for told in old[: 2 * half]:
            self._reserved.remove(told)
            self._disclosure.release(told.fact)
        return " ".join(self._deny(rng, told) for told, _ in self._deleted)

    def reserve(self, rng: random.Random, passages: list[Passage], count: int) -> None:
        """Keep some facts of today from being asked, to take them back on a later day."""
        today = [told for passage in passages for told in passage.told]
        free = [t for t in today if not self._is_used(t.fact) and self._may_change(t)]
        for told in rng.sample(free, min(count, len(free))):
            self._reserved.append(told)
            self._disclosure.reserve(told.fact)

    @property
    def deleted(self) -> list[Fact]:
        """The facts taken back today."""
        return [told.fact for told, _ in self._deleted]

    def ask(
        self, rng: random.Random, kind: str, passages: list[Passage], day: int
    ) -> Iterator[tuple[Hard, ...]]:
        """Questions of a kind, those that belong together at once; as many as today allows."""
        told = [t for passage in passages for t in passage.told]
        rng.shuffle(told)
        today = [t for t in told if self._author.ledger.is_current(t)]
        match kind:
            case "deletion":
                return self._pairs(rng, self._deleted, "deleted", "kept")
            case "absence":
                return self._absent(rng, today)
            case "cascade":
                return self._follow_on(rng, today, day)
            case "as-of":
                return self._dated(rng, today, day)
            case "implicit":
                return self._needed(today)
        raise ValueError(f"kind {kind!r} is no hard one")

    def _is_used(self, fact: Fact) -> bool:
        return self._disclosure.is_used(fact.subject, fact.attribute)

    def _may_change(self, told: Told) -> bool:
        """Whether a fact is true, nothing relies on it, and nothing would stand in its place."""
        ledger, fact = self._author.ledger, told.fact
        return (
            ledger.is_current(told)
            and fact not in self._author.relied_on
            and fact.spec.value != "nickname"
            and fact.attribute not in ledger.base.get(fact.subject, {})
        )

    def _deny(self, rng: random.Random, told: Told) -> str:
        template = rng.choice(told.fact.spec.passages[:-1])
        self._author.ledger.forget(told.fact)
        self._past[told.fact.subject, told.fact.attribute].clear()
        sentence = begin(template.format(s=told.fact.subject, v=told.fact.value))
        return follow(rng.choice(DENIALS), sentence, template)

    def _pairs(
        self, rng: random.Random, pairs: Iterable[tuple[Told, Told]], unknown: str, known: str
    ) -> Iterator[tuple[Hard, ...]]:
        for gone, still in pairs:
            nothing = gone.fact._replace(value="")
            yield self._doubted(rng, nothing, unknown), self._doubted(rng, still.fact, known)

    def _doubted(self, rng: random.Random, fact: Fact, kind: str) -> Hard:
        asked = Asker(rng, self._author.ledger).direct(fact, "paraphrase")
        text = IF_KNOWN.format(question=asked.text)
        answers = (fact.value,) if fact.value else UNKNOWN
        return Hard(asked._replace(text=text, answers=answers), kind, alone=True)

    def _absent(self, rng: random.Random, today: list[Told]) -> Iterator[tuple[Hard, ...]]:
        ledger = self._author.ledger
        for told in today:
            if self._is_used(told.fact) or told.fact.spec.value == "nickname":
                continue
            subject, owner = told.fact.subject, told.fact.spec.owner
            open_ones = [
                attribute
                for attribute in BY_OWNER[owner]
                if ledger.value(subject, attribute.name) is None
                and not self._disclosure.is_used(subject, attribute.name)
            ]
            if open_ones:
                nothing = Fact(subject, rng.choice(open_ones).name, "")
                yield (
                    self._doubted(rng, nothing, "absent"),
                    self._doubted(rng, told.fact, "present"),
                )

    def _follow_on(
        self, rng: random.Random, today: list[Told], day: int
    ) -> Iterator[tuple[Hard, ...]]:
        """What an older link leads to, where today changed the entity that it points to."""
        ledger = self._author.ledger
        for told in today:
            past = self._past[told.fact.subject, told.fact.attribute]
            before = [value for number, value in past if number < day][-1:]
            changed = before and before[0] != told.fact.value
            for link in ledger.pointers(told.fact.subject) if changed else ():
                older = ledger.told[link.subject][link.attribute].day < day
                if older and told.fact.value != link.subject:
                    asked = Asker(rng, ledger).two_hop(link, told.fact, "cascade")
                    yield (Hard(asked, "cascade"),)

    def _dated(self, rng: random.Random, today: list[Told], day: int) -> Iterator[tuple[Hard, ...]]:
        """What was true on an earlier day, of facts that today changed."""
        for told in today:
            past = self._past[told.fact.subject, told.fact.attribute]
            if len(past) < 2:
                continue
            place = rng.randrange(len(past) - 1)
            (first, value), (after, _) = past[place], past[place + 1]
            if max(1, first) < after and value != told.fact.value:
                asked = Asker(rng, self._author.ledger).direct(
                    told.fact._replace(value=value), "paraphrase"
                )
                when = rng.randrange(max(1, first), after)
                text = AS_OF.format(day=when, question=asked.text)
                yield (Hard(asked._replace(text=text), "as-of", lasting=True),)

    def _needed(self, today: list[Told]) -> Iterator[tuple[Hard, ...]]:
        for told in today:
            fact = told.fact
            if fact.attribute in NEEDS:
                text = begin(NEEDS[fact.attribute].format(s=fact.subject))
                yield (Hard(Question(text, (fact.value,), "implicit", (fact,)), "implicit"),)

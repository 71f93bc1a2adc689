"""How an Almanac is written: texts and questions day by day, over a ledger of what is true."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from sleepgym.core.settings import plain
from sleepgym.core.types import AnswerKey, Day, Document, Item, Question, Stream
from sleepgym_tasks.worlds.almanac.disclosure import Disclosure
from sleepgym_tasks.worlds.almanac.hard_questions import HardKind, HardQuestions
from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.phrases_hard import TODAY
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.ledger import Fact, Ledger
from sleepgym_tasks.worlds.passages import Author, Manner, Passage
from sleepgym_tasks.worlds.questions import Asker, Candidates
from sleepgym_tasks.worlds.questions import Question as Asked
from sleepgym_tasks.worlds.world import base_world

RARE_FIRST = ("two-hop", "two-hop-days", "updated", "override", "alias", "reversed")


class Writer:
    """Writes one stream: passages day by day, questions as soon as they can be asked.

    Args:
        config: An ``AlmanacConfig``.
        seed: Seed of the stream.
        disclosure: What the questions asked so far give away; None asks whatever the day allows.
    """

    def __init__(self, config: Any, seed: int, disclosure: Disclosure | None = None) -> None:
        self.config, self.seed, self.disclosure = config, seed, disclosure
        manner = Manner(
            facts=(config.facts_min, config.facts_max),
            returns=config.returns,
            from_base=config.from_base,
            updates=config.updates,
            ties=config.ties,
            aliases=config.aliases,
            descriptions=config.descriptions,
            unseen=config.unseen_passages,
        )
        world = base_world()
        register = Register(derive(seed, "almanac", "names"), world.taken)
        self.author = Author(derive(seed, "almanac", "author"), register, world, manner)
        self.hard_kinds = [kind for kind in config.kinds if kind in get_args(HardKind)]
        self.kinds = [kind for kind in config.kinds if kind not in self.hard_kinds]
        self.hard = HardQuestions(self.author, disclosure) if disclosure else None
        self.key: dict[str, tuple[str, ...]] = {}
        self.drafts: dict[str, _Draft] = {}
        self.watched: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
        self.exams: dict[int, list[_Draft]] = defaultdict(list)

    def stream(self) -> Stream:
        """The stream, from the first day to the last."""
        self._ask_base()
        texts = []
        for number in range(1, self.config.days + 1):
            passages = self.author.write(self.config.passages, number)
            documents = [Document(p.text, p.title) for p in passages]
            facts = [fact for passage in passages for fact in passage.facts]
            asked = 0
            if self.hard and self.hard_kinds:
                documents += self._take_back(self.hard, passages, number)
                self._retire([*facts, *self.hard.deleted], number - 1)
                asked = self._ask_hard(self.hard, passages, number)
            else:
                self._retire(facts, number - 1)
            self._ask_day(passages, number, self.config.questions - asked)
            self._ask_locality(passages, number)
            if "as-of" in self.hard_kinds:
                documents = [
                    replace(d, text=TODAY.format(day=number, text=d.text)) for d in documents
                ]
            texts.append(tuple(documents))
        days = tuple(
            Day(number, documents, exam=tuple(draft.item for draft in self.exams[number]))
            for number, documents in enumerate(texts, start=1)
        )
        base = tuple(draft.item for draft in self.exams[0])
        return Stream("Almanac", plain(self.config), self.seed, days, base, AnswerKey(self.key))

    def _ask_base(self) -> None:
        """Questions about the base world; one that a later day overrides is retired then."""
        rng, ledger = derive(self.seed, "almanac", "base"), self.author.ledger
        facts = base_world().all_facts()
        for fact in rng.sample(facts, min(self.config.base_questions, len(facts))):
            asked = Asker(rng, ledger).direct(fact, "base")
            self._add(asked, 0, "base")

    def _take_back(
        self, hard: HardQuestions, passages: list[Passage], number: int
    ) -> list[Document]:
        """What the day tells of facts that are no longer true, where that is asked about."""
        count = self._share // 2 if "deletion" in self.hard_kinds else 0
        rng = derive(self.seed, "almanac", "deletions", number)
        text = hard.take_back(rng, passages, number, count)
        return [Document(text)] if text else []

    @property
    def _share(self) -> int:
        """Questions a day of one hard kind; an even number."""
        return max(2, self.config.questions // len(self.config.kinds) // 2 * 2)

    def _ask_hard(self, hard: HardQuestions, passages: list[Passage], number: int) -> int:
        """Ask the hard kinds, before others use their facts; how many were asked."""
        rng = derive(self.seed, "almanac", "hard questions", number)
        total = 0
        if "deletion" in self.hard_kinds:
            hard.reserve(rng, passages, 2 * self._share)
        for kind in self.hard_kinds:
            left = self._share
            for together in hard.ask(rng, kind, passages, number):
                if left <= 0:
                    break
                if all(self._may_ask(h.question, number) for h in together):
                    for h in together:
                        self._add(h.question, number, h.kind, h.lasting, h.alone)
                    left -= len(together)
            total += self._share - left
        return total

    def _may_ask(self, asked: Asked, day: int) -> bool:
        holds_answer = any(f" {answer} " in f" {asked.text} " for answer in asked.answers)
        repeats = any(d.item.question.text == asked.text for d in self.exams[day])
        allowed = self.disclosure is None or self.disclosure.allows(asked)
        return allowed and not repeats and not (holds_answer and asked.kind == "implicit")

    def _ask_day(self, passages: list[Passage], number: int, wanted: int) -> None:
        rng = derive(self.seed, "almanac", "questions", number)
        makers = _makers(rng, self.author.ledger, passages, number)
        for name in makers:
            rng.shuffle(makers[name])
        seen = set()
        while wanted > 0 and any(makers[name] for name in self.kinds):
            for name in [name for name in self._turns() if makers[name]]:
                if not makers[name]:
                    continue  # named twice, and only one was left
                asked = self._next(makers[name])
                if wanted and asked and asked.text not in seen:
                    seen.add(asked.text)
                    wanted -= 1
                    self._add(asked, number, name)

    def _turns(self) -> list[str]:
        """The kinds in the order of asking; what other kinds would rule out comes first."""
        kinds = list(self.kinds)
        if self.disclosure is None:
            return kinds
        rank = {kind: place for place, kind in enumerate(RARE_FIRST)}
        return sorted(kinds, key=lambda kind: rank.get(kind, len(rank)))

    def _next(self, makers: list[Callable[[], Asked]]) -> Asked | None:
        """The next question of a kind that may be asked; None where there is none left."""
        while makers:
            asked = makers.pop()()
            if self.disclosure is None or self.disclosure.allows(asked):
                return asked
        return None

    def _ask_locality(self, passages: list[Passage], number: int) -> None:
        """An untouched old fact of every entity that today changed in another respect."""
        rng, ledger = derive(self.seed, "almanac", "locality", number), self.author.ledger
        changed = {told.fact.subject for p in passages for told in p.told if told.replaced}
        for subject in sorted(changed):
            told = ledger.told[subject]
            old = [(t.day, t.fact) for t in told.values() if t.day < number]
            born = ledger.base.get(subject, {})
            old += [(0, Fact(subject, a, v)) for a, v in born.items() if a not in told]
            if old:
                day, fact = rng.choice(old)
                self._add(Asker(rng, ledger).direct(fact, "locality"), day, "locality")

    def _add(
        self, asked: Asked, day: int, kind: str, lasting: bool = False, alone: bool = False
    ) -> None:
        if any(d.item.question.text == asked.text for d in self.exams[day]):
            return
        if self.disclosure is not None:
            if not self.disclosure.allows(asked):
                return
            self.disclosure.add(asked, alone)
        item_id = f"d{day}/{kind}/{len(self.exams[day])}"
        draft = _Draft(Item(item_id, Question(asked.text), kind, day), asked, lasting)
        self.exams[day].append(draft)
        self.key[item_id] = asked.answers
        for fact in asked.needs:
            self.watched[fact.subject, fact.attribute].append(draft)
            self.watched[fact.attribute, fact.value].append(draft)

    def _retire(self, facts: Iterable[Fact], last_night: int) -> None:
        """Items whose answer today's facts changed, or made ambiguous, are asked no more."""
        for fact in facts:
            for touched in ((fact.subject, fact.attribute), (fact.attribute, fact.value)):
                for draft in self.watched[touched]:
                    if draft.item.until is None and not draft.holds(self.author.ledger):
                        draft.item = replace(draft.item, until=last_night)


@dataclass
class _Draft:
    """An item while its stream is being written."""

    item: Item
    asked: Asked
    lasting: bool = False

    def holds(self, ledger: Ledger) -> bool:
        """Whether the answer is still true, and the only one."""
        if self.lasting:
            return True
        facts = self.asked.needs
        if any((ledger.value(f.subject, f.attribute) or "") != f.value for f in facts):
            return False
        asks_for_subject = self.asked.answers[0] == facts[-1].subject
        return not asks_for_subject or ledger.identifies(facts[-1])


def _makers(
    rng: random.Random, ledger: Ledger, passages: list[Passage], number: int
) -> dict[str, list[Callable[[], Asked]]]:
    """For every kind, the questions that today's passages allow, not yet put into words."""
    told = [t for passage in passages for t in passage.told]
    today = Candidates(ledger, told)
    asker, unseen = Asker(rng, ledger), Asker(rng, ledger, unseen=True)
    fresh = [t for t in today.current if not t.replaced]
    changed = [t for t in today.current if t.replaced]
    return {
        "direct": [lambda t=t: asker.direct(t.fact) for t in fresh],
        "paraphrase": [lambda t=t: asker.direct(t.fact, "paraphrase") for t in fresh],
        "unseen": [lambda t=t: unseen.direct(t.fact) for t in fresh],
        "reversed": [lambda t=t: asker.reversed(t.fact) for t in today.reversible()],
        "two-hop": [lambda a=a, b=b: asker.two_hop(a.fact, b.fact) for a, b in today.hops()],
        "two-hop-days": [
            lambda a=a, b=b: asker.two_hop(a, b) for a, b in _across(ledger, today, number)
        ],
        "alias": [
            lambda t=t, s=s, n=n: asker.alias(t.fact, s, n) for t, s, n in today.aliased() if n
        ],
        "updated": [
            lambda t=t: asker.direct(t.fact, "updated") for t in changed if not t.overrides
        ],
        "override": [lambda t=t: asker.direct(t.fact, "override") for t in changed if t.overrides],
    }


def _across(ledger: Ledger, today: Candidates, number: int) -> list[tuple[Fact, Fact]]:
    """Pairs of a link and a fact, one told today and the other on an earlier day."""
    pairs = []
    for told in today.current:
        if told.fact.spec.links:
            other = told.fact.value
            older = ledger.told.get(other, {}).values()
            pairs += [(told.fact, t.fact) for t in older if t.day < number]
        for link in ledger.pointers(told.fact.subject):
            if ledger.told[link.subject][link.attribute].day < number:
                pairs.append((link, told.fact))
    return [(link, fact) for link, fact in pairs if fact.value != link.subject]

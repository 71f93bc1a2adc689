"""Almanac: days of passages about invented people, companies and towns.

Every name is made up from the seed, so no model can have met it; the base world that some passages
return to is the one the embedded model was born with. Because a third of the passages return to
entities of earlier days, change facts, or call somebody by a nickname, a table of names in front of
frozen adapters does not answer everything.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Interval

from sleepgym import grading
from sleepgym.family import TaskFamily
from sleepgym.settings import plain
from sleepgym.types import AnswerKey, Day, Document, Item, Question, Stream
from sleepgym_tasks.worlds.ledger import Fact, Ledger
from sleepgym_tasks.worlds.names import Register
from sleepgym_tasks.worlds.passages import Author, Manner, Passage
from sleepgym_tasks.worlds.questions import Asker, Candidates
from sleepgym_tasks.worlds.questions import Question as Asked
from sleepgym_tasks.worlds.seeds import derive
from sleepgym_tasks.worlds.world import base_world

Share = Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True)
class AlmanacConfig:
    """Settings of :class:`Almanac`.

    Attributes:
        days: Days of the stream.
        passages: Passages a day.
        facts_min: Fewest facts of a passage.
        facts_max: Most facts of a passage.
        questions: Questions a day, shared evenly among the kinds that the day allows.
        base_questions: Questions about the base world, asked every morning.
        returns: Share of passages about an entity met before, or of the base world.
        from_base: Share of the returns that go to the base world.
        updates: Share of facts about a returning entity that change an older fact.
        ties: Share of linked values (home, mentor, ...) that name an entity met before.
        aliases: Share of passages that give a nickname to their entity, or use the one it has.
        descriptions: Share of passages that name a linked entity only by the link.
        unseen_passages: Share of sentences in phrasings that pretraining never used.
    """

    days: Annotated[int, Ge(1)] = 8
    passages: Annotated[int, Ge(1)] = 4
    facts_min: Annotated[int, Ge(1)] = 4
    facts_max: Annotated[int, Ge(1)] = 6
    questions: Annotated[int, Ge(1)] = 24
    base_questions: Annotated[int, Ge(0)] = 50
    returns: Share = 0.35
    from_base: Share = 0.35
    updates: Share = 0.4
    ties: Share = 0.4
    aliases: Share = 0.2
    descriptions: Share = 0.1
    unseen_passages: Share = 0.1

    def __post_init__(self) -> None:
        if self.facts_max < self.facts_min:
            raise ValueError(f"facts_max={self.facts_max} is below facts_min={self.facts_min}")


class Almanac(TaskFamily):
    """Read a few passages a day; answer questions about them, in the evening and ever after.

    Question kinds: ``direct``; ``paraphrase`` (another wording); ``unseen`` (a wording that
    pretraining never used); ``reversed`` (given the value, who?); ``two-hop`` (both facts told the
    same day); ``two-hop-days`` (the facts were told on different days: no single day answers it);
    ``alias`` (the entity under its other name); ``updated`` (the newest fact wins); ``override``
    (today's fact contradicts the base world); ``locality`` (old facts of an entity that a later
    passage changes in another respect; told facts count to their day, base facts to day 0);
    ``base`` (the world the embedded model was born with).

    An item is asked only while its answer is true and its question unambiguous. The answer is
    graded by exact match. The preset ``disjoint`` is the easy stream where every entity lives on
    one day; ``long`` is 64 days with spaced exams.
    """

    Config = AlmanacConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "disjoint": {"returns": 0.0, "ties": 0.0, "aliases": 0.0, "descriptions": 0.0},
        "long": {"days": 64, "exams": "spaced"},
    }

    config: AlmanacConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed."""
        return _Writer(self.config, seed).stream()

    def score(self, answer: str, target: str) -> float:
        """Exact match after SQuAD's normalisation."""
        return grading.exact_match(answer, target)


class _Writer:
    """Writes one stream: passages day by day, questions as soon as they can be asked."""

    def __init__(self, config: AlmanacConfig, seed: int) -> None:
        self.config, self.seed = config, seed
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
        self.key: dict[str, tuple[str, ...]] = {}
        self.drafts: dict[str, _Draft] = {}
        self.watched: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
        self.exams: dict[int, list[_Draft]] = defaultdict(list)

    def stream(self) -> Stream:
        self._ask_base()
        texts = []
        for number in range(1, self.config.days + 1):
            passages = self.author.write(self.config.passages, number)
            self._retire(passages, number - 1)
            self._ask_day(passages, number)
            self._ask_locality(passages, number)
            texts.append(tuple(Document(p.text, p.title) for p in passages))
        days = tuple(
            Day(number, documents, exam=tuple(draft.item for draft in self.exams[number]))
            for number, documents in enumerate(texts, start=1)
        )
        base = tuple(draft.item for draft in self.exams[0])
        return Stream("Almanac", plain(self.config), self.seed, days, base, AnswerKey(self.key))

    def _ask_base(self) -> None:
        """Questions about the base world, those among them that the stream does not override."""
        rng, ledger = derive(self.seed, "almanac", "base"), self.author.ledger
        facts = base_world().all_facts()
        for fact in rng.sample(facts, min(self.config.base_questions, len(facts))):
            asked = Asker(rng, ledger).direct(fact, "base")
            self._add(asked, 0, "base")

    def _ask_day(self, passages: list[Passage], number: int) -> None:
        rng = derive(self.seed, "almanac", "questions", number)
        makers = _makers(rng, self.author.ledger, passages, number)
        for name in makers:
            rng.shuffle(makers[name])
        wanted, seen = self.config.questions, set()
        while wanted and any(makers.values()):
            for name in [name for name, options in makers.items() if options]:
                asked = makers[name].pop()()
                if wanted and asked.text not in seen:
                    seen.add(asked.text)
                    wanted -= 1
                    self._add(asked, number, name)

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

    def _add(self, asked: Asked, day: int, kind: str) -> None:
        if any(d.item.question.text == asked.text for d in self.exams[day]):
            return
        item_id = f"d{day}/{kind}/{len(self.exams[day])}"
        draft = _Draft(Item(item_id, Question(asked.text), kind, day), asked)
        self.exams[day].append(draft)
        self.key[item_id] = asked.answers
        for fact in asked.needs:
            self.watched[fact.subject, fact.attribute].append(draft)
            self.watched[fact.attribute, fact.value].append(draft)

    def _retire(self, passages: list[Passage], last_night: int) -> None:
        """Items whose answer today's passages changed, or made ambiguous, are asked no more."""
        for passage in passages:
            for fact in passage.facts:
                for touched in ((fact.subject, fact.attribute), (fact.attribute, fact.value)):
                    for draft in self.watched[touched]:
                        if draft.item.until is None and not draft.holds(self.author.ledger):
                            draft.item = replace(draft.item, until=last_night)


@dataclass
class _Draft:
    """An item while its stream is being written."""

    item: Item
    asked: Asked

    def holds(self, ledger: Ledger) -> bool:
        """Whether the answer is still true, and the only one."""
        facts = self.asked.needs
        if any(ledger.value(f.subject, f.attribute) != f.value for f in facts):
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

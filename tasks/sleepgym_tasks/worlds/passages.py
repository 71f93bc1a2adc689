"""Passages: short texts about entities that are new, return, change, or go by another name."""

import random
from dataclasses import dataclass

from sleepgym_tasks.worlds.language.loosening import vary
from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.phrases import (
    ASIDES,
    ATTRIBUTES,
    BY_OWNER,
    ENTITY_KINDS,
    NEWS,
    NICKNAMES,
    begin,
    follow,
)
from sleepgym_tasks.worlds.language.values import VALUES
from sleepgym_tasks.worlds.ledger import Fact, Ledger, Told
from sleepgym_tasks.worlds.world import World


@dataclass(frozen=True, slots=True)
class Manner:
    """How an author writes; every share is a probability.

    Attributes:
        facts: Fewest and most facts of a passage.
        returns: Share of passages about an entity met before.
        from_base: Share of the returns that go to the base world.
        updates: Share of facts about a returning entity that change an older fact.
        ties: Share of linked values that name an entity met before.
        satellites: Share of passages that also tell of an entity they mention.
        aliases: Share of passages that give their entity a nickname, or call it by the one it has.
        descriptions: Share of passages about a linked entity that name it only by the link.
        unseen: Share of sentences that use the held-out templates.
        asides: Share of sentences that open with an empty phrase.
        loose: Share of sentences in loose wording, for pretraining.
    """

    facts: tuple[int, int] = (4, 6)
    returns: float = 0.35
    from_base: float = 0.35
    updates: float = 0.4
    ties: float = 0.4
    satellites: float = 0.4
    aliases: float = 0.2
    descriptions: float = 0.1
    unseen: float = 0.0
    asides: float = 0.06
    loose: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and what it says.

    Attributes:
        title: The subject as the passage calls it; may be empty.
        text: The sentences.
        told: The facts with their places.
    """

    title: str
    text: str
    told: tuple[Told, ...]

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The facts alone."""
        return tuple(told.fact for told in self.told)


class Author:
    """Writes passages, day after day, and keeps the truth in its ledger.

    Args:
        rng: Source of randomness.
        register: Giver of fresh names.
        world: The base world that some passages return to, if any.
        manner: How to write.
    """

    def __init__(
        self,
        rng: random.Random,
        register: Register,
        world: World | None = None,
        manner: Manner | None = None,
    ) -> None:
        self.ledger = Ledger(world.facts, world.holders) if world else Ledger()
        self.cast: dict[str, list[str]] = {kind: [] for kind in ENTITY_KINDS}
        self.kinds: dict[str, str] = {}
        self.manner = manner or Manner()
        self._rng = rng
        self._register = register
        self._world = world
        self._written = 0
        self.relied_on: set[Fact] = set()  # links that a description used: they stay true

    def write(self, count: int, day: int = 0) -> list[Passage]:
        """Write the passages of a day; no entity is the subject of two of them."""
        subjects: set[str] = set()
        return [self._passage(day, subjects) for _ in range(count)]

    def _passage(self, day: int, subjects: set[str]) -> Passage:
        rng, manner = self._rng, self.manner
        name, kind = self._subject(subjects)
        subjects.add(name)
        surface = self._surface(name, kind)
        number, self._written = self._written, self._written + 1
        count = rng.randint(*manner.facts)
        facts: list[tuple[Fact, str]] = []
        named = surface == name and rng.random() < manner.aliases
        if named and not self.ledger.nickname(name, kind):
            nickname = self._register.fresh("nickname")
            facts.append((Fact(name, NICKNAMES[kind].name, nickname), name))
        own = self._choose(name, kind, count - len(facts))
        beside = rng.randint(1, 2) if rng.random() < manner.satellites else 0
        kept, spare = own[: len(own) - beside], own[len(own) - beside :]
        facts += [(fact, surface) for fact in kept]
        linked = [fact.value for fact in kept if fact.spec.links]
        while linked and len(facts) < count:
            other = linked.pop(rng.randrange(len(linked)))
            if other != name and other not in subjects:
                for fact in self._choose(other, self.kinds[other], count - len(facts)):
                    facts.append((fact, other))
        facts += [(fact, surface) for fact in spare[: count - len(facts)]]
        if not facts:  # all of it was told, and nothing of it may change: write of another
            return self._passage(day, subjects)
        told = tuple(self.ledger.tell(fact, day, number, called) for fact, called in facts)
        sentences = [self._sentence(item) for item in told]
        title = begin(surface) if rng.random() < 0.8 else ""
        return Passage(title, " ".join(sentences), told)

    def _subject(self, subjects: set[str]) -> tuple[str, str]:
        rng, manner = self._rng, self.manner
        kind = ("person", "person", "company", "town")[int(rng.random() * 4)]
        if rng.random() < manner.returns:
            from_base = self._world is not None and rng.random() < manner.from_base
            pool = self._world.names[kind] if from_base else self.cast[kind]
            if pool:
                name = pool[int(rng.random() * len(pool))]
                if name not in subjects:
                    self._meet(name, kind)
                    return name, kind
        name = self._register.fresh(kind)
        self._meet(name, kind)
        return name, kind

    def _meet(self, name: str, kind: str) -> None:
        if name not in self.kinds:
            self.kinds[name] = kind
            self.cast[kind].append(name)

    def _surface(self, name: str, kind: str) -> str:
        """Choose what to call the subject: its name, its nickname, or by a link to another."""
        rng = self._rng
        draw = rng.random()
        if draw < self.manner.descriptions:
            pointers = self.ledger.pointers(name)
            if pointers:
                fact = pointers[int(rng.random() * len(pointers))]
                nouns = fact.spec.nouns
                self.relied_on.add(fact)
                return nouns[int(rng.random() * len(nouns))].format(s=fact.subject)
        nickname = self.ledger.nickname(name, kind)
        return nickname if nickname and rng.random() < 3 * self.manner.aliases else name

    def _choose(self, name: str, kind: str, count: int) -> list[Fact]:
        """Draw facts that are new, or change what was true."""
        rng, ledger = self._rng, self.ledger
        attributes = sorted(BY_OWNER[kind], key=lambda _: rng.random())
        told, born = ledger.told.get(name, {}), ledger.base.get(name, {})
        old = [
            a
            for a in attributes
            if (told[a.name].fact not in self.relied_on if a.name in told else a.name in born)
        ]
        new = [a for a in attributes if a.name not in told and a.name not in born]
        changed = sum(rng.random() < self.manner.updates for _ in range(count)) if old else 0
        chosen = old[:changed] + new[: count - changed]
        if changed:
            rng.shuffle(chosen)
        return [Fact(name, a.name, self._value(name, a.name)) for a in chosen]

    def _value(self, name: str, attribute: str) -> str:
        rng = self._rng
        kind, now = ATTRIBUTES[attribute].value, self.ledger.value(name, attribute)
        if kind in VALUES:
            pool = VALUES[kind]
            while True:
                value = pool[int(rng.random() * len(pool))]
                if value != now:
                    return value
        if kind in self.cast:
            if rng.random() < self.manner.ties:
                from_base = self._world is not None and rng.random() < self.manner.from_base / 2
                pool = self._world.names[kind] if from_base else self.cast[kind]
                value = pool[int(rng.random() * len(pool))] if pool else name
                if value not in (name, now):
                    self._meet(value, kind)
                    return value
            value = self._register.fresh(kind)
            self._meet(value, kind)
            return value
        return self._register.fresh(kind)

    def _sentence(self, told: Told) -> str:
        rng, fact = self._rng, told.fact
        templates = ATTRIBUTES[fact.attribute].passages
        last = len(templates) - 1
        unseen = self.manner.unseen > 0 and rng.random() < self.manner.unseen
        template = templates[last if unseen else int(rng.random() * last)]
        if self.manner.loose and rng.random() < self.manner.loose:
            template = vary(rng, fact.spec, template)
        sentence = begin(template.format(s=told.surface, v=fact.value))
        if told.replaced and rng.random() < 0.7:
            return follow(NEWS[int(rng.random() * len(NEWS))], sentence, template)
        if rng.random() < self.manner.asides:
            return follow(ASIDES[int(rng.random() * len(ASIDES))], sentence, template)
        return sentence

"""Edits of the invented base world, for models that were born with it."""

from __future__ import annotations

import random
from typing import NamedTuple

from sleepgym_tasks.worlds.language.phrases import NEWS, follow
from sleepgym_tasks.worlds.ledger import Fact, Ledger
from sleepgym_tasks.worlds.questions import Asker
from sleepgym_tasks.worlds.world import base_world


class Probe(NamedTuple):
    """A question about an edit and its accepted answers."""

    text: str
    answers: tuple[str, ...]


class Edit(NamedTuple):
    """A fact that changes, and what tells whether it did.

    Attributes:
        id: Place in the file.
        subject: Who or what the fact is about.
        statement: The new fact, as a text to read.
        reliability: The edit's own prompt.
        generalisation: The same in other words; may be empty.
        locality: Facts that must not change; may be empty.
        portability: What follows from the new fact; may be empty.
    """

    id: str
    subject: str
    statement: str
    reliability: Probe
    generalisation: tuple[Probe, ...]
    locality: tuple[Probe, ...]
    portability: tuple[Probe, ...]


def invent(rng: random.Random, count: int) -> list[Edit]:
    """Edits of the world that the embedded model was born with, all true together.

    Args:
        rng: Source of randomness.
        count: How many; at most a few thousand.
    """
    world = base_world()
    asker = Asker(rng, Ledger(world.facts, world.holders))
    pointers: dict[str, list[Fact]] = {}
    for fact in world.all_facts():
        if fact.spec.links:
            pointers.setdefault(fact.value, []).append(fact)
    used: set[tuple[str, str]] = set()  # facts that an edit changed or a question relies on
    edits: list[Edit] = []
    for old in rng.sample(world.all_facts(), len(world.all_facts())):
        if len(edits) == count:
            break
        if (old.subject, old.attribute) in used:
            continue
        pool = sorted({f.value for f in world.all_facts() if f.attribute == old.attribute})
        new = old._replace(value=rng.choice([v for v in pool if v not in (old.value, old.subject)]))
        beside = [
            Fact(old.subject, a, v)
            for a, v in world.facts[old.subject].items()
            if a != old.attribute and (old.subject, a) not in used
        ]
        if new.spec.links:
            onward = [Fact(new.value, a, v) for a, v in world.facts[new.value].items()]
            hops = [(new, f) for f in onward if f.value != new.subject]
        else:
            hops = [(link, new) for link in pointers.get(new.subject, ())]
        hops = [h for h in hops if not {(f.subject, f.attribute) for f in h} & used]
        if not beside or not hops:
            continue
        kept, hop = rng.choice(beside), rng.choice(hops)
        used |= {(f.subject, f.attribute) for f in (new, kept, *hop)}
        edits.append(_invented(rng, asker, new, kept, hop))
    return edits


def _invented(
    rng: random.Random, asker: Asker, new: Fact, kept: Fact, hop: tuple[Fact, Fact]
) -> Edit:
    template = rng.choice(new.spec.passages[:-1])
    sentence = template.format(s=new.subject, v=new.value)
    own = asker.direct(new)
    other = own
    while other.text == own.text:
        other = asker.direct(new, "paraphrase")
    onward = asker.two_hop(*hop)
    return Edit(
        f"{new.subject}/{new.attribute}",
        new.subject,
        follow(rng.choice(NEWS), sentence, template),
        Probe(own.text, own.answers),
        (Probe(other.text, other.answers),),
        (Probe(asker.direct(kept).text, (kept.value,)),),
        (Probe(onward.text, onward.answers),),
    )

"""The base world: 800 people, 200 companies and 200 towns that the embedded model is born with.

It is fixed for ever: changing a name list, a syllable or this module changes the world and so asks
for new weights. Every entity has all but two of its attributes, so that something new can still
be told of it.
"""

import functools
import random
from dataclasses import dataclass

from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.phrases import BY_OWNER, ENTITY_KINDS
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.language.values import VALUES
from sleepgym_tasks.worlds.ledger import Fact

BASE_SEED = 20261122
SIZES = {"person": 800, "company": 200, "town": 200}
UNKNOWN_ATTRIBUTES = 2


@dataclass(frozen=True)
class World:
    """A closed set of entities and facts.

    Attributes:
        names: Entity names by kind.
        kinds: Kind by entity name.
        facts: Value by subject and attribute.
        holders: Subjects by (attribute, value).
        taken: Every name in use, rivers included.
    """

    names: dict[str, tuple[str, ...]]
    kinds: dict[str, str]
    facts: dict[str, dict[str, str]]
    holders: dict[tuple[str, str], tuple[str, ...]]
    taken: frozenset[str]

    def all_facts(self) -> tuple[Fact, ...]:
        """Return every fact, in the order of creation."""
        return tuple(
            Fact(subject, attribute, value)
            for subject, facts in self.facts.items()
            for attribute, value in facts.items()
        )


def _partners(rng: random.Random, subjects: tuple[str, ...], pool: tuple[str, ...]) -> list[str]:
    """Give every subject a partner other than itself, each used as evenly as possible."""
    rounds = -(-len(subjects) // len(pool))
    partners = [name for _ in range(rounds) for name in rng.sample(pool, len(pool))]
    partners = partners[: len(subjects)]
    for i, subject in enumerate(subjects):
        if partners[i] == subject:
            j = (i + 1) % len(subjects)
            partners[i], partners[j] = partners[j], partners[i]
    return partners


@functools.cache
def base_world() -> World:
    """Return the base world; the same in every process."""
    rng = derive(BASE_SEED, "base world")
    register = Register(rng, reserved=False)
    names = {kind: tuple(register.fresh(kind) for _ in range(n)) for kind, n in SIZES.items()}
    rivers = tuple(register.fresh("river") for _ in range(SIZES["town"]))
    facts: dict[str, dict[str, str]] = {}
    for kind in ENTITY_KINDS:
        subjects = names[kind]
        columns = {}
        for attribute in BY_OWNER[kind]:
            if attribute.links:
                columns[attribute.name] = _partners(rng, subjects, names[attribute.value])
            elif attribute.value == "river":
                columns[attribute.name] = list(rivers)
            else:
                columns[attribute.name] = [rng.choice(VALUES[attribute.value]) for _ in subjects]
        for i, subject in enumerate(subjects):
            unknown = rng.sample(sorted(columns), UNKNOWN_ATTRIBUTES)
            facts[subject] = {a: column[i] for a, column in columns.items() if a not in unknown}
    holders: dict[tuple[str, str], tuple[str, ...]] = {}
    for subject, row in facts.items():
        for item in row.items():
            holders[item] = (*holders.get(item, ()), subject)
    kinds = {name: kind for kind in ENTITY_KINDS for name in names[kind]}
    return World(names, kinds, facts, holders, frozenset(kinds) | frozenset(rivers))

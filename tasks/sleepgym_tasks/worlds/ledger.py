"""What is true so far: facts, where they were told, and what they replaced."""

from typing import NamedTuple

from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES, Attribute


class Fact(NamedTuple):
    """One statement: the attribute of the subject has the value."""

    subject: str
    attribute: str
    value: str

    @property
    def spec(self) -> Attribute:
        """The attribute's entry in the table."""
        return ATTRIBUTES[self.attribute]


class Told(NamedTuple):
    """A fact with its place in the stream.

    Attributes:
        fact: What was told.
        day: Day of the telling.
        passage: Running number of the passage.
        surface: What the passage called the subject: its name, nickname or description.
        replaced: The values that were true before, newest last; the base world's included.
        overrides: Whether one of the replaced values is the base world's.
    """

    fact: Fact
    day: int
    passage: int
    surface: str
    replaced: tuple[str, ...]
    overrides: bool


class Ledger:
    """The truth so far: what was told, over a base world where nothing was.

    Args:
        base: Facts by subject and attribute that were known at birth.
        base_holders: Subjects of the base world by (attribute, value).
    """

    def __init__(
        self,
        base: dict[str, dict[str, str]] | None = None,
        base_holders: dict[tuple[str, str], tuple[str, ...]] | None = None,
    ) -> None:
        self.base = base or {}
        self.base_holders = base_holders or {}
        self.told: dict[str, dict[str, Told]] = {}
        self._holders: dict[tuple[str, str], list[str]] = {}
        self._sources: dict[str, list[Fact]] = {}

    def value(self, subject: str, attribute: str) -> str | None:
        """Return what is true now: the newest telling, else the base world's."""
        told = self.told.get(subject)
        if told and attribute in told:
            return told[attribute].fact.value
        born = self.base.get(subject)
        return born.get(attribute) if born else None

    def tell(self, fact: Fact, day: int, passage: int, surface: str) -> Told:
        """Record a fact; an older one of the same subject and attribute is replaced."""
        subject, attribute, value = fact
        facts = self.told.setdefault(subject, {})
        before = facts.get(attribute)
        born_with = self.base.get(subject, {}).get(attribute)
        if before:
            replaced = (*before.replaced, before.fact.value)
        else:
            replaced = (born_with,) if born_with else ()
        told = facts[attribute] = Told(
            fact, day, passage, surface, replaced, born_with is not None and born_with != value
        )
        holders = self._holders.setdefault((attribute, value), [])
        if subject not in holders:
            holders.append(subject)
        self._sources.setdefault(value, []).append(fact)
        return told

    def forget(self, fact: Fact) -> None:
        """Make a told fact untrue; nothing takes its place."""
        del self.told[fact.subject][fact.attribute]

    def is_current(self, told: Told) -> bool:
        """Say whether no newer telling replaced this one."""
        return self.told[told.fact.subject].get(told.fact.attribute) is told

    def identifies(self, fact: Fact) -> bool:
        """Say whether attribute and value have pointed at this subject alone, ever."""
        key = (fact.attribute, fact.value)
        held = self._holders.get(key, [fact.subject])
        return held == [fact.subject] and self.base_holders.get(key, held) in (
            held,
            (fact.subject,),
        )

    def pointers(self, name: str) -> list[Fact]:
        """Return the told facts, still true, whose value is this entity."""
        return [
            fact
            for fact in self._sources.get(name, ())
            if fact.spec.links and self.value(fact.subject, fact.attribute) == name
        ]

    def nickname(self, name: str, kind: str) -> str | None:
        """Return the entity's nickname, if one was told."""
        return self.value(name, f"{kind}.nickname")

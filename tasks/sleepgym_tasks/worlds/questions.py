"""Questions about what was told: the kinds, what each depends on, and how it is put."""

import random
from collections.abc import Iterable
from typing import NamedTuple

from sleepgym_tasks.worlds.language.loosening import vary
from sleepgym_tasks.worlds.language.phrases import OPENERS, begin
from sleepgym_tasks.worlds.ledger import Fact, Ledger, Told

KINDS = (
    "direct",
    "paraphrase",
    "reversed",
    "two_hop",
    "two_hop_across",
    "two_hop_days",
    "two_hop_base",
    "alias",
    "updated",
    "override",
    "locality",
    "base",
    "unseen",
)


class Question(NamedTuple):
    """A question and its key.

    Attributes:
        text: What is asked.
        answers: Every right answer; the first is the gold one.
        kind: One of `KINDS`.
        needs: The facts that have to be known.
    """

    text: str
    answers: tuple[str, ...]
    kind: str
    needs: tuple[Fact, ...]


class Asker:
    """Puts questions about a ledger's facts.

    Args:
        rng: Source of randomness.
        ledger: The truth that answers are read from.
        openers: Share of questions that start with an empty phrase.
        unseen: Whether to use the held-out templates alone.
        loose: Share of questions in loose wording, for pretraining.
    """

    def __init__(
        self,
        rng: random.Random,
        ledger: Ledger,
        openers: float = 0.0,
        unseen: bool = False,
        loose: float = 0.0,
    ) -> None:
        self._rng = rng
        self._ledger = ledger
        self._openers = openers
        self._unseen = unseen
        self._loose = loose

    def direct(self, fact: Fact, kind: str = "direct", subject: str = "") -> Question:
        """Ask for the value; `direct` uses the first template, other kinds any seen one."""
        templates = fact.spec.questions
        first = kind == "direct" and not self._unseen
        template = templates[0] if first else self._pick(templates)
        if self._loose and self._rng.random() < self._loose:
            template = vary(self._rng, fact.spec, template, ordered=bool(subject))
        text = self._open(template.format(s=subject or fact.subject), template)
        return Question(text, (fact.value,), "unseen" if self._unseen else kind, (fact,))

    def reversed(self, fact: Fact) -> Question:
        """Ask for the subject."""
        template = self._pick(fact.spec.reverses)
        if self._loose and self._rng.random() < self._loose:
            template = vary(self._rng, fact.spec, template)
        text = self._open(template.format(v=fact.value), template)
        return Question(text, (fact.subject,), "unseen" if self._unseen else "reversed", (fact,))

    def two_hop(self, link: Fact, fact: Fact, kind: str = "two_hop") -> Question:
        """Ask for a value of the entity that `link` points to, without naming it."""
        nouns = link.spec.nouns
        noun = nouns[int(self._rng.random() * len(nouns))].format(s=link.subject)
        question = self.direct(fact, kind, noun)
        return question._replace(needs=(link, fact))

    def alias(self, fact: Fact, surface: str, needs: Iterable[Fact]) -> Question:
        """Ask for the value under another name of the subject, known from the facts `needs`."""
        return self.direct(fact, "alias", surface)._replace(needs=(*needs, fact))

    def _pick(self, templates: tuple[str, ...]) -> str:
        if self._unseen:
            return templates[-1]
        return templates[int(self._rng.random() * (len(templates) - 1))]

    def _open(self, text: str, template: str) -> str:
        if self._openers and self._rng.random() < self._openers:
            opener = OPENERS[int(self._rng.random() * len(OPENERS))]
            starts_with_name = template.startswith(("{s}", "{v}"))
            return f"{opener} {text if starts_with_name else text[0].lower() + text[1:]}"
        return begin(text)


class Candidates:
    """What can be asked about a set of tellings, by kind.

    Args:
        ledger: The truth so far.
        told: The tellings at hand, such as those of the passages in the context.

    Attributes:
        current: The tellings that nothing newer has replaced.
    """

    def __init__(self, ledger: Ledger, told: Iterable[Told]) -> None:
        self._ledger = ledger
        self.current = [item for item in told if ledger.is_current(item)]
        self._by_subject: dict[str, list[Told]] = {}
        for item in self.current:
            self._by_subject.setdefault(item.fact.subject, []).append(item)

    def reversible(self, plain: bool = False) -> list[Told]:
        """Return the tellings whose value points at one subject; `plain` adds closed lists."""
        return [
            item
            for item in self.current
            if (plain or item.fact.spec.value in NAMED) and self._ledger.identifies(item.fact)
        ]

    def hops(self) -> list[tuple[Told, Told]]:
        """Return pairs of a link and a fact about the entity it points to."""
        return [
            (link, item)
            for link in self.current
            if link.fact.spec.links
            for item in self._by_subject.get(link.fact.value, ())
            if item.fact.value != link.fact.subject
        ]

    def base_hops(self) -> list[tuple[Told, Fact]]:
        """Return pairs of a told link and a base fact about the base entity it points to."""
        pairs = []
        for link in self.current:
            if link.fact.spec.links:
                subject = link.fact.value
                for attribute, value in self._ledger.base.get(subject, {}).items():
                    if attribute not in self._ledger.told.get(subject, {}):
                        pairs.append((link, Fact(subject, attribute, value)))
        return pairs

    def aliased(self) -> list[tuple[Told, str, tuple[Fact, ...]]]:
        """Return tellings with another name to ask by, and the facts that tie it to them."""
        found = []
        for item in self.current:
            fact = item.fact
            kind = fact.spec.owner
            known = self._by_subject.get(fact.subject, ())
            names = [t.fact for t in known if t.fact.attribute == f"{kind}.nickname"]
            if fact in names:
                continue
            if item.surface == fact.subject:
                found += [(item, name.value, (name,)) for name in names]
            else:
                ties = [n for n in names if n.value == item.surface] or [
                    link
                    for link in self._ledger.pointers(fact.subject)
                    if link.subject in item.surface
                ]
                found.append((item, fact.subject, tuple(ties[:1])))
        return found


NAMED = frozenset(("person", "company", "town", "river", "nickname"))

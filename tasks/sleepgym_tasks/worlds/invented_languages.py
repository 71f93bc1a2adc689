"""Invented languages: a lexicon, a word order and affixes, and sentences with their English.

Every sentence is subject, verb and object, with number, tense and optional adjectives, so that its
English is determined by the lexicon and the grammar, which the language can also put into words.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

from sleepgym_tasks.worlds.language.names import word

NOUNS = (
    *("farmer", "teacher", "king", "girl", "boy", "sailor", "baker", "singer"),
    *("dog", "horse", "bird", "cow", "goat", "tree", "river", "house", "boat", "stone"),
)
VERBS = ("help", "follow", "call", "visit", "paint", "remember", "count", "clean", "need", "want")
ADJECTIVES = ("old", "young", "small", "big", "red", "white", "good", "quiet")
ORDERS = ("SVO", "SOV", "VSO", "VOS", "OVS", "OSV")
_PARTS = {"S": "subject", "V": "verb", "O": "object"}


class Noun(NamedTuple):
    """A noun phrase: which noun, how many, and what it is like."""

    noun: str
    plural: bool
    adjective: str | None


class Clause(NamedTuple):
    """What a sentence says."""

    subject: Noun
    verb: str
    past: bool
    object: Noun

    @property
    def english(self) -> str:
        """The sentence in English, in lower case without a full stop."""
        ending = "ed" if self.past else "" if self.subject.plural else "s"
        stem = self.verb.removesuffix("e") if self.past else self.verb
        return f"{_english(self.subject)} {stem}{ending} {_english(self.object)}"


class Language:
    """A language.

    Attributes:
        name: As questions call it.
        lexicon: English word -> its word.
    """

    def __init__(self, rng: random.Random, name: str) -> None:
        self.name = name
        english = (*NOUNS, *VERBS, *ADJECTIVES)
        words: dict[str, None] = {}
        while len(words) < len(english):
            words.setdefault(word(rng).lower())
        self.lexicon = dict(zip(english, words, strict=True))
        self._order = rng.choice(ORDERS)
        self._adjective_first = rng.random() < 0.5
        affixes: set[str] = set()
        while len(affixes) < 3:
            affixes.add(rng.choice("bdgklmnprstvz") + rng.choice("aeiou"))
        self._affixes = dict(
            zip(("plural", "past", "object"), rng.sample(sorted(affixes), 3), strict=True)
        )
        self._prefixed = {what: rng.random() < 0.5 for what in self._affixes}

    def say(self, clause: Clause) -> str:
        """The sentence in this language."""
        verb = self.lexicon[clause.verb]
        parts = {
            "S": self._noun(clause.subject, False),
            "V": self._affix(verb, "past") if clause.past else verb,
            "O": self._noun(clause.object, True),
        }
        return " ".join(parts[part] for part in self._order)

    def grammar(self) -> str:
        """The grammar in plain English."""
        order = ", ".join(_PARTS[part] for part in self._order)
        rules = [
            f"A sentence of {self.name} is {order}, in this order.",
            f"An adjective stands {'before' if self._adjective_first else 'after'} its noun.",
            "There is no article.",
        ]
        for what, means in (
            ("plural", "A noun is plural"),
            ("object", "A noun is the object"),
            ("past", "A verb is in the past"),
        ):
            where = "before" if self._prefixed[what] else "after"
            rules.append(f"{means} when {self._affixes[what]} is joined {where} it.")
        rules.append("A noun takes the mark of the plural first and that of the object second.")
        return " ".join(rules)

    def words(self) -> list[str]:
        """Entries of the word list, in alphabetical order of the language's words."""
        return [
            f"{own}: {english}" for own, english in sorted((o, e) for e, o in self.lexicon.items())
        ]

    def _noun(self, noun: Noun, is_object: bool) -> str:
        stem = self.lexicon[noun.noun]
        if noun.plural:
            stem = self._affix(stem, "plural")
        if is_object:
            stem = self._affix(stem, "object")
        if not noun.adjective:
            return stem
        pair = (self.lexicon[noun.adjective], stem)
        return " ".join(pair if self._adjective_first else pair[::-1])

    def _affix(self, stem: str, what: str) -> str:
        affix = self._affixes[what]
        return affix + stem if self._prefixed[what] else stem + affix


def clauses(rng: random.Random) -> Iterator[Clause]:
    """Different things to say, for ever; the first ones use every word of the lexicon."""
    decks = [_deck(rng, choices) for choices in (NOUNS, VERBS, ADJECTIVES)]
    seen: set[Clause] = set()
    while True:
        first, second = (
            Noun(next(decks[0]), rng.random() < 0.4, next(decks[2]) if rng.random() < 0.5 else None)
            for _ in range(2)
        )
        clause = Clause(first, next(decks[1]), rng.random() < 0.5, second)
        if first.noun != second.noun and clause not in seen:
            seen.add(clause)
            yield clause


def _deck(rng: random.Random, choices: tuple[str, ...]) -> Iterator[str]:
    """The choices in random order, again and again, each as often as the others."""
    for _ in itertools.count():
        yield from rng.sample(choices, len(choices))


def _english(noun: Noun) -> str:
    adjective = f"{noun.adjective} " if noun.adjective else ""
    return f"the {adjective}{noun.noun}{'s' if noun.plural else ''}"

"""Invented names, built from syllables: people, companies, towns, rivers and nicknames.

A fifth of all full names is `reserved`: pretraining never uses them, streams and batteries use
nothing else, so a stream's names were met by no embedded model before.
"""

import random
import zlib
from collections.abc import Callable, Collection

ONSETS = (*"bdfghjklmnprstvwz", "br", "kr", "tr")
VOWELS = tuple("aeiou")
CODAS = ("", "n", "r", "l", "s")
OPEN = tuple(onset + vowel for onset in ONSETS for vowel in VOWELS)
CLOSED = tuple(opening + coda for opening in OPEN for coda in CODAS)
CAPITAL = tuple(syllable.capitalize() for syllable in OPEN)
_WORDS = {
    "TRADES": "Mills Works Guild Traders Brothers Foundry Press Stores Supplies Partners Yard "
    "Workshop",
    "SHADES": "Amber Black Bold Brave Bright Broken Bronze Calm Clever Copper Dark Distant "
    "Early Frozen Gentle Golden Green Grey Hidden Honest Humble Iron Jolly Late "
    "Little Lone Loud Lucky Merry Patient Pale Proud Quick Quiet Red Restless Royal "
    "Rusty Silent Silver Sleepy Slow Steady Stern Swift Tall Velvet White Wild Wise",
    "FIGURES": "Acorn Anchor Arrow Badger Bear Beacon Bell Bison Candle Comet Crane Crown "
    "Dolphin Drum Eagle Elm Falcon Feather Fern Fox Hammer Harbor Hare Hawk Heron Key "
    "Kettle Lantern Lark Lion Lynx Maple Mirror Moon Moth Oak Otter Owl Petal Pigeon "
    "Raven River Rose Sailor Shield Sparrow Spider Star Stone Storm Swan Thistle "
    "Tiger Tower Turtle Violin Walrus Willow Wolf",
}
TRADES, SHADES, FIGURES = (tuple(words.split()) for words in _WORDS.values())
RESERVED_SHARE = 5


def _pick(rng: random.Random, options):
    return options[int(rng.random() * len(options))]


def word(rng: random.Random, syllables: int = 2) -> str:
    """Return one capitalised word of two or three syllables."""
    draw = rng.random
    middle = OPEN[int(draw() * len(OPEN))] if syllables == 3 else ""
    return CAPITAL[int(draw() * len(OPEN))] + middle + CLOSED[int(draw() * len(CLOSED))]


def person(rng: random.Random) -> str:
    """Return a first name and a family name."""
    return f"{word(rng)} {word(rng)}"


def company(rng: random.Random) -> str:
    """Return a company's name, such as `Tavor Mills`."""
    return f"{word(rng)} {_pick(rng, TRADES)}"


def place(rng: random.Random) -> str:
    """Return the name of a town or river."""
    return word(rng, 3)


def nickname(rng: random.Random) -> str:
    """Return a nickname, such as `the Grey Heron`; the invented half never runs out."""
    figure = _pick(rng, FIGURES) if rng.random() < 0.5 else word(rng)
    return f"the {_pick(rng, SHADES)} {figure}"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "person": person,
    "company": company,
    "town": place,
    "river": place,
    "nickname": nickname,
}


def is_reserved(name: str) -> bool:
    """Say whether a name is kept from pretraining, for streams and batteries."""
    return zlib.crc32(name.encode()) % RESERVED_SHARE == 0


class Register:
    """Hands out fresh names: never one twice, never one of the taken ones.

    Args:
        rng: Source of randomness.
        taken: Names that must not come back, such as those of the base world.
        reserved: Whether to draw reserved names (streams) or the others (pretraining).
    """

    def __init__(
        self, rng: random.Random, taken: Collection[str] = (), reserved: bool = True
    ) -> None:
        self._rng = rng
        self._taken = taken if isinstance(taken, frozenset) else frozenset(taken)
        self._given: set[str] = set()
        self._reserved = reserved

    def fresh(self, kind: str) -> str:
        """Return a new name of a kind in `MAKERS`."""
        make = MAKERS[kind]
        while True:
            name = make(self._rng)
            if (
                is_reserved(name) == self._reserved
                and name not in self._taken
                and name not in self._given
            ):
                self._given.add(name)
                return name

"""A broad list of English words, the most frequent first, for made-up utterances and texts.

The words are those of the docstrings of Python's standard library, by frequency; the words of
`VALUES` and a few hundred everyday ones (money, travel, food, home, talk), written by hand, are
strewn in between.
"""

import functools
import random
from importlib import resources


@functools.cache
def english() -> tuple[str, ...]:
    """Return the words, most frequent first."""
    text = resources.files(__package__).joinpath("words.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def common(rng: random.Random) -> str:
    """Draw a word; frequent words come more often."""
    words = english()
    draw = rng.random()
    return words[int(len(words) * draw * draw * draw)]


def rare(rng: random.Random) -> str:
    """Draw a word that carries meaning: none of the most frequent ones."""
    words = english()
    return words[120 + int((len(words) - 120) * rng.random() ** 1.5)]


def phrase(rng: random.Random, fewest: int, most: int, draw=common) -> str:
    """Draw that many words."""
    return " ".join(draw(rng) for _ in range(rng.randint(fewest, most)))

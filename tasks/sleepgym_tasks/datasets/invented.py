"""A class stream invented on the spot: no data files, no network, for tests and demonstrations.

Every class has a made-up name and six made-up words of its own; an utterance is a request template
shared by all classes with three of them in it. Shared words say nothing about the class and the
made-up ones say everything, so that a nearest neighbour (BM25) learns the set from a few examples,
and who has forgotten them is right as often as chance. It does not stand in for real data: it has
neither synonyms nor ambiguity.
"""

from __future__ import annotations

import numpy as np

from sleepgym.core.rng import derive_rng
from sleepgym_tasks.datasets.labelled import LabelledTexts, Row

CLASSES = 30
CLASSES_PER_DAY = 5
TRAIN = 40
TEST = 20

_WORDS_PER_CLASS = 6
_WORDS_PER_TEXT = 3
_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "tr", "pl")
_VOWELS = ("a", "e", "i", "o", "u")
_TEMPLATES = (
    "can you check the {0} and the {1} of my {2}",
    "can you change the {0} of my {1} and {2}",
    "can i change the {0} and the {1} of the {2}",
    "i need the {0} of my {1} and the {2}",
    "i need my {0} and the {1} of the {2}",
    "check the {0} and {1} of my {2}",
)
_OPENINGS = ("", "hello, ", "please, ")
_CLOSINGS = ("", " today", " for me")


def load(seed: int) -> LabelledTexts:
    """The set invented from ``seed``: names, words and utterances all depend on it."""
    drawn = words(derive_rng(seed, "invented words"), CLASSES * (_WORDS_PER_CLASS + 1))
    train: dict[str, tuple[Row, ...]] = {}
    test: dict[str, tuple[Row, ...]] = {}
    for index in range(CLASSES):
        label, *own = drawn[index::CLASSES]
        texts = _utterances(derive_rng(seed, "invented utterances", index), own, TRAIN + TEST)
        rows = [Row(f"{index}/{number}", text) for number, text in enumerate(texts)]
        train[label], test[label] = tuple(rows[:TRAIN]), tuple(rows[TRAIN:])
    return LabelledTexts(train, test, (tuple(train),), CLASSES_PER_DAY)


def words(rng: np.random.Generator, count: int) -> list[str]:
    """Different made-up words of three syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = rng.integers((len(_ONSETS), len(_VOWELS)), size=(3, 2))
        found["".join(_ONSETS[onset] + _VOWELS[vowel] for onset, vowel in syllables)] = None
    return list(found)


def _utterances(rng: np.random.Generator, own: list[str], count: int) -> list[str]:
    """Different requests with three of ``words`` in each."""
    texts: dict[str, None] = {}
    while len(texts) < count:
        chosen = [own[i] for i in rng.permutation(len(own))[:_WORDS_PER_TEXT]]
        template = _TEMPLATES[rng.integers(len(_TEMPLATES))].format(*chosen)
        opening = _OPENINGS[rng.integers(len(_OPENINGS))]
        texts[opening + template + _CLOSINGS[rng.integers(len(_CLOSINGS))]] = None
    return list(texts)

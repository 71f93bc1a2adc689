"""Invented intents: utterances of ordinary words that share words within a class, and labels."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sleepgym_tasks.worlds.language.words import common, phrase, rare

Pair = tuple[str, str]


@dataclass(frozen=True)
class Intent:
    """One class.

    Attributes:
        label: One to three words joined by underscores.
        keywords: Words of which every utterance holds at least one.
        frames: Beginnings that many utterances of the class share.
        fillers: Most filler words of an utterance.
    """

    label: str
    keywords: tuple[str, ...]
    frames: tuple[str, ...]
    fillers: int

    def utter(self, rng: random.Random, theme: Sequence[str] = ()) -> str:
        """Make one utterance: keywords in filler, perhaps after a frame."""
        kept = rng.randint((len(self.keywords) + 1) // 2, len(self.keywords))
        words = rng.sample(self.keywords, min(4, kept))
        words += [common(rng) for _ in range(rng.randint(0, self.fillers))]
        if theme and rng.random() < 0.5:
            words.append(rng.choice(theme))
        rng.shuffle(words)
        if self.frames and rng.random() < 0.5:
            words.insert(0, rng.choice(self.frames))
        return " ".join(words)


@dataclass(frozen=True)
class IntentRule:
    """A set of classes to tell apart.

    Attributes:
        intents: The classes.
        theme: Words that any class may use.
    """

    intents: tuple[Intent, ...]
    theme: tuple[str, ...]

    @classmethod
    def invent(cls, rng: random.Random, classes: tuple[int, int] = (2, 20)) -> "IntentRule":
        """Invent a set of classes with different labels and keywords."""
        theme = tuple(rare(rng) for _ in range(4))
        fragments = [phrase(rng, 2, 4) for _ in range(6)]
        fillers, most_keywords = rng.choice((1, 3, 6)), rng.choice((2, 4, 6))
        intents, labels, used = [], set(), set(theme)
        for _ in range(rng.randint(*classes)):
            keywords = []
            for _ in range(rng.randint(1, most_keywords)):
                keyword = rare(rng)
                if keyword not in used:
                    used.add(keyword)
                    keywords.append(keyword)
            keywords = keywords or [rare(rng)]
            parts = [
                rng.choice(keywords) if rng.random() < 0.4 else rare(rng)
                for _ in range(rng.choice((1, 2, 2, 2, 3)))
            ]
            label = "_".join(parts)
            if label not in labels:
                labels.add(label)
                frames = tuple(rng.sample(fragments, rng.randint(0, 3)))
                intents.append(Intent(label, tuple(keywords), frames, fillers))
        return cls(tuple(intents), theme)

    def draw(self, rng: random.Random, shown: Sequence[Pair] = ()) -> Pair:
        """Draw an utterance and its label; with `shown` pairs, of a label met in them."""
        intents = self.intents
        if shown:
            met = {label for _, label in shown}
            intents = tuple(intent for intent in intents if intent.label in met)
        intent = intents[int(rng.random() * len(intents))]
        return intent.utter(rng, self.theme), intent.label

"""Texts of random words that hold values to look up: reading that no template helps with."""

import random

from sleepgym_tasks.worlds.language.names import word
from sleepgym_tasks.worlds.language.words import common, phrase, rare

Pair = tuple[str, str]
JOINTS = (" is ", ": ", " was ", " means ", " had ", " by ")
CUES = ("What", "Which", "Who", "Where", "What of")


def _value(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return str(rng.randrange(10000))
    if draw < 0.6:
        return " ".join(word(rng) for _ in range(rng.randint(1, 3)))
    return phrase(rng, 1, 3, rare)


def make_extract(rng: random.Random, sentences: int) -> tuple[str, list[Pair]]:
    """Return a text of random words and questions on spans of it.

    A record's question repeats its key; a gap's question repeats words around a span, in order
    or out of it.
    """
    text, pairs, keys = [], [], set()
    for _ in range(sentences):
        key = phrase(rng, 1, 3, rare)
        if key in keys:
            continue
        keys.add(key)
        if rng.random() < 0.4:
            value = _value(rng)
            text.append(f"{key.capitalize()}{rng.choice(JOINTS)}{value}.")
            pairs.append((f"{rng.choice(CUES)} {key}?", value))
            continue
        words = [
            common(rng) if rng.random() < 0.6 else rare(rng) for _ in range(rng.randint(6, 14))
        ]
        span = rng.randint(1, 3)
        start = rng.randint(2, len(words) - span - 1)
        answer = _value(rng) if rng.random() < 0.5 else " ".join(words[start : start + span])
        before = words[max(0, start - rng.randint(2, 5)) : start]
        after = words[start + span : start + span + rng.randint(1, 4)]
        words[start : start + span] = [answer]
        text.append(" ".join(words).capitalize() if answer.islower() else " ".join(words))
        text[-1] += "."
        draw = rng.random()
        if draw < 0.4:
            question = f"{' '.join(before)} what?"
        elif draw < 0.7:
            question = f"{rng.choice(CUES)} {' '.join(after)}?"
        else:
            clue = before + after
            rng.shuffle(clue)
            question = f"{rng.choice(CUES)} {' '.join(clue)}?"
        pairs.append((question.lower() if rng.random() < 0.3 else question, answer))
    rng.shuffle(pairs)
    return " ".join(text), pairs

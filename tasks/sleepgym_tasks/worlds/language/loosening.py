"""Loose wording for pretraining: templates with words put in, left out or out of order.

A model that met only fixed templates reads nothing else. Loose sentences keep the subject, the
value and a word or two that tell the attribute, so that these come to matter, not the template.
Held-out templates are never a source.
"""

import functools
import random
import re
from collections import Counter

from sleepgym_tasks.worlds.language.frames import framed, is_held_out
from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES, Attribute
from sleepgym_tasks.worlds.language.words import common

SLOTS = ("{s}", "{v}")
ASKING = ("What", "Which", "Who", "Where", "When", "In which", "Name the", "Whose", "Of what")
LINKING_SHARE = 3  # words of at least this many attributes of an owner tell none of them


def _words(template: str) -> list[str]:
    return re.findall(r"[a-z]+", template.replace("{s}", "").replace("{v}", "").lower())


@functools.cache
def _vocabulary() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the telling words by attribute, and the words that tell nothing."""
    seen: dict[str, dict[str, None]] = {}
    users: Counter[tuple[str, str]] = Counter()
    for name, attribute in ATTRIBUTES.items():
        groups = (attribute.passages, attribute.questions, attribute.reverses)
        used = [word for group in groups for t in group[:-1] for word in _words(t)]
        seen[name] = dict.fromkeys(used)
        users.update((attribute.owner, word) for word in seen[name])
    keys, empty = {}, {}
    for name, used in seen.items():
        owner = ATTRIBUTES[name].owner
        keys[name] = tuple(w for w in used if users[owner, w] < LINKING_SHARE and len(w) > 2)
        empty.update(dict.fromkeys(w for w in used if users[owner, w] >= LINKING_SHARE))
    return keys, tuple(empty)


def _filler(rng: random.Random) -> str:
    empty = _vocabulary()[1]
    return empty[int(rng.random() * len(empty))] if rng.random() < 0.7 else common(rng)


def loosen(rng: random.Random, template: str) -> str:
    """Put one to three empty words in; sometimes leave one out."""
    end = template[-1]
    words = template[:-1].split()
    empty = _vocabulary()[1]
    if rng.random() < 0.4:
        idle = [i for i, word in enumerate(words) if word.lower() in empty]
        if idle:
            words.pop(idle[int(rng.random() * len(idle))])
    for _ in range(1 + int(rng.random() * 3)):
        words.insert(int(rng.random() * (len(words) + 1)), _filler(rng))
    return " ".join(words) + end


def scramble(rng: random.Random, attribute: Attribute, slots: tuple[str, ...], end: str) -> str:
    """Put slots, one or two telling words and a few empty ones in any order."""
    keys = _vocabulary()[0][attribute.name]
    words = list(slots) + [keys[int(rng.random() * len(keys))] for _ in range(rng.choice((1, 2)))]
    words += [_filler(rng) for _ in range(int(rng.random() * 4))]
    rng.shuffle(words)
    if end == "?":
        words.insert(0, ASKING[int(rng.random() * len(ASKING))])
    return " ".join(words) + end


def vary(rng: random.Random, attribute: Attribute, template: str, ordered: bool = False) -> str:
    """Return a loose form of a template; `ordered` keeps its words in their order."""
    draw = rng.random()
    if draw < 0.35:
        group = "passages" if template[-1] == "." else "questions"
        frames = framed(attribute.name, group if "{s}" in template else "reverses")
        return frames[int(rng.random() * len(frames))]
    if ordered or attribute.value == attribute.owner or draw < 0.7:
        loose = loosen(rng, template)
    else:
        slots = tuple(slot for slot in SLOTS if slot in template)
        loose = scramble(rng, attribute, slots, template[-1])
    return template if is_held_out(attribute.name, loose) else loose

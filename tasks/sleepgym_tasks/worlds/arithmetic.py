"""Invented arithmetic: sums, differences, products and short word problems, graded in size."""

from __future__ import annotations

import random
from typing import NamedTuple

from sleepgym_tasks.worlds.language.names import word

KINDS = ("sum", "difference", "product", "mixed", "story")
_GOODS = ("apples", "coins", "books", "shells", "stamps", "marbles")


class Problem(NamedTuple):
    """A problem, its answer, and what it is about."""

    text: str
    answer: str
    kind: str


def invent(rng: random.Random, kind: str, digits: int) -> Problem:
    """A problem of a kind in ``KINDS`` whose numbers have at most ``digits`` digits."""
    most = 10**digits - 1
    a, b = rng.randint(1, most), rng.randint(1, most)
    small = rng.randint(2, 9)
    match kind:
        case "sum":
            return Problem(f"What is {a} + {b}?", str(a + b), kind)
        case "difference":
            return Problem(f"What is {a} - {b}?", str(a - b), kind)
        case "product":
            return Problem(f"What is {a} * {small}?", str(a * small), kind)
        case "mixed":
            return Problem(f"What is {a} + {b} * {small}?", str(a + b * small), kind)
        case "story":
            who, goods, away = word(rng), rng.choice(_GOODS), rng.randint(1, a + b)
            text = (
                f"{who} has {a} {goods}, finds {b} more and gives {away} away."
                f" How many {goods} does {who} have now?"
            )
            return Problem(text, str(a + b - away), kind)
    raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")

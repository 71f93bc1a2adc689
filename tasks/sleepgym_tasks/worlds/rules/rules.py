"""Few-shot rules: list and string transformations, symbol maps and intents, all invented.

A rule turns inputs into outputs; its demonstrations are pairs of a question's text and an answer.
Difficulty is graded: `list1` is one operation, `list2` a chain of two, so that accuracy rises
with the number of demonstrations.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sleepgym_tasks.worlds.language.names import OPEN, word
from sleepgym_tasks.worlds.language.words import rare
from sleepgym_tasks.worlds.rules.intents import IntentRule

Pair = tuple[str, str]
Items = list[str]

OPERATIONS: dict[str, Callable[[Items, str], Items]] = {
    "reverse": lambda items, extra: items[::-1],
    "sort": lambda items, extra: sorted(items),
    "rotate_left": lambda items, extra: items[1:] + items[:1],
    "rotate_right": lambda items, extra: items[-1:] + items[:-1],
    "swap_ends": lambda items, extra: items[-1:] + items[1:-1] + items[:1],
    "drop_first": lambda items, extra: items[1:],
    "drop_last": lambda items, extra: items[:-1],
    "double_first": lambda items, extra: items[:1] + items,
    "double_last": lambda items, extra: items + items[-1:],
    "every_other": lambda items, extra: items[::2],
    "prepend": lambda items, extra: [extra, *items],
    "append": lambda items, extra: [*items, extra],
}
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
DIGITS = tuple("0123456789")
SYLLABLES = tuple(dict.fromkeys(OPEN))
ALPHABETS = (LETTERS, LETTERS, DIGITS)


@dataclass(frozen=True)
class SequenceRule:
    """A chain of operations on a list of letters or digits, or on a string's syllables.

    Attributes:
        name: What the question calls it; may be empty.
        operations: Names in `OPERATIONS`, applied in order.
        alphabet: What the items are drawn from.
        extra: The item that `prepend` and `append` add.
        joint: What stands between items: a space for lists, a hyphen for strings.
    """

    name: str
    operations: tuple[str, ...]
    alphabet: tuple[str, ...]
    extra: str
    joint: str = " "

    def apply(self, items: Sequence[str]) -> Items:
        """Return the output for these items."""
        result = list(items)
        for operation in self.operations:
            result = OPERATIONS[operation](result, self.extra)
        return result

    def draw(self, rng: random.Random, shown: Sequence[Pair] = ()) -> Pair:
        """Draw one pair whose input was not shown."""
        inputs = {question for question, _ in shown}
        while True:
            items = rng.sample(self.alphabet, rng.randint(3, 6))
            pair = _named(self.name, self.joint.join(items)), self.joint.join(self.apply(items))
            if pair[0] not in inputs:
                return pair


@dataclass(frozen=True)
class MapRule:
    """A fixed symbol for every symbol: a cipher of words.

    Attributes:
        name: What the question calls it; may be empty.
        table: The output symbol by input symbol.
    """

    name: str
    table: dict[str, str]

    def draw(self, rng: random.Random, shown: Sequence[Pair] = ()) -> Pair:
        """Draw one pair; with `shown` pairs, all its symbols were met in them."""
        keys = list(self.table)
        if shown:
            met = {symbol for question, _ in shown for symbol in question.split()}
            keys = [key for key in keys if key in met]
        symbols = [keys[int(rng.random() * len(keys))] for _ in range(rng.randint(1, 3))]
        return _named(self.name, " ".join(symbols)), " ".join(self.table[s] for s in symbols)


Rule = SequenceRule | MapRule | IntentRule
FAMILIES = ("list1", "list2", "string", "map", "intent")


def _named(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def make_rule(rng: random.Random, family: str, named: bool = True) -> Rule:
    """Invent a rule.

    Args:
        rng: Source of randomness.
        family: One of `FAMILIES`.
        named: Whether its questions start with an invented name.
    """
    name = word(rng).lower() if named else ""
    if family == "intent":
        return IntentRule.invent(rng)
    if family == "map":
        size = rng.randint(3, 8)
        keys: dict[str, None] = {}
        while len(keys) < size:
            keys[rare(rng) if rng.random() < 0.5 else word(rng).lower()] = None
        return MapRule(name, {key: word(rng).lower() for key in keys})
    if family == "string":
        alphabet, count, joint = SYLLABLES, rng.randint(1, 2), "-"
    else:
        alphabet, count, joint = rng.choice(ALPHABETS), 1 if family == "list1" else 2, " "
    while True:
        operations = tuple(rng.sample(sorted(OPERATIONS), count))
        rule = SequenceRule(name, operations, alphabet, rng.choice(alphabet), joint)
        probe = list(alphabet[:5])
        if rule.apply(probe) != probe:
            return rule


def draw_pairs(rng: random.Random, rule: Rule, count: int) -> list[Pair]:
    """Draw demonstrations with different inputs, as far as the rule has so many."""
    pairs: list[Pair] = []
    for _ in range(4 * count):
        pair = rule.draw(rng)
        if pair not in pairs:
            pairs.append(pair)
        if len(pairs) == count:
            break
    return pairs

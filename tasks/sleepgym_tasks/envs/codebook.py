"""Codebook: rules learned from a few demonstrations, which must last without them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge

from sleepgym import Settings
from sleepgym.core import grading
from sleepgym.core.family import TaskFamily
from sleepgym.core.settings import plain
from sleepgym.core.types import AnswerKey, Day, Item, Question, Stream
from sleepgym_tasks.worlds.language.names import word
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.rules.intents import IntentRule
from sleepgym_tasks.worlds.rules.rules import Pair, Rule, make_rule

Family = Literal["list1", "list2", "string", "map", "intent"]


@dataclass(frozen=True)
class CodebookConfig(Settings):
    """Settings of :class:`Codebook`.

    Attributes:
        days: Days of the stream.
        rules: Rules a day.
        demonstrations: Rounds of practice; each shows one input of every rule (of every class, for
            intents) and then its output.
        tests: New inputs of every rule in an exam.
        families: Kinds of rules, taken in turn: list1 (one operation on a list), list2 (two),
            string (operations on syllables), map (a symbol for every symbol), intent (classes of
            utterances).
        classes: Classes of an intent rule.
    """

    days: Annotated[int, Ge(1)] = 8
    rules: Annotated[int, Ge(1)] = 4
    demonstrations: Annotated[int, Ge(1)] = 6
    tests: Annotated[int, Ge(1)] = 4
    families: tuple[Family, ...] = ("list2", "string", "map", "intent")
    classes: Annotated[int, Ge(2)] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.families:
            raise ValueError(f"families is empty: name some of {', '.join(get_args(Family))}")


class Codebook(TaskFamily):
    """Infer invented rules from demonstrations; apply them to new inputs, now and after the night.

    PRACTICE comes in rounds, so that answers of round r show what r demonstrations a rule taught:
    the items' kind is ``after-r``, and comparing early and late days on it tells whether the agent
    learns to learn. The evening exam has the day's demonstrations in context; the morning exam asks
    new inputs of the same rules, which the question names, and the demonstrations are gone. Kinds
    of exam items are the families of the rules. Answers are graded letter by letter.
    """

    Config = CodebookConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "long": {"days": 64, "exams": "spaced"},
    }

    config: CodebookConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed."""
        key: dict[str, tuple[str, ...]] = {}
        names: set[str] = set()
        days = []
        for number in range(1, self.config.days + 1):
            rng = derive(seed, "codebook", number)
            exam: list[Item] = []
            rounds: list[list[Item]] = [[] for _ in range(self.config.demonstrations)]
            for i in range(self.config.rules):
                family = self.config.families[i % len(self.config.families)]
                rule, name = self._invent(rng, family, names)
                shown: list[Pair] = []
                for r, items in enumerate(rounds):
                    for pair in self._demonstrate(rng, rule, shown):
                        shown.append(pair)
                        item_id = f"d{number}/{name}/shown-{len(shown)}"
                        items.append(_item(item_id, name, pair, f"after-{r}", number, key))
                asked: list[Pair] = []
                for _ in range(self.config.tests):
                    pair = _fresh(rng, rule, shown, asked)
                    asked.append(pair)
                    item_id = f"d{number}/{name}/test-{len(asked)}"
                    exam.append(_item(item_id, name, pair, family, number, key))
            for items in rounds:
                rng.shuffle(items)
            days.append(Day(number, practice=tuple(map(tuple, rounds)), exam=tuple(exam)))
        return Stream("Codebook", plain(self.config), seed, tuple(days), key=AnswerKey(key))

    def score(self, answer: str, target: str) -> float:
        """1.0 where the answer is the output, letter by letter."""
        return grading.choice(answer, target)

    def _invent(self, rng: random.Random, family: str, names: set[str]) -> tuple[Rule, str]:
        """A rule and a name that no other rule of the stream has."""
        while True:
            name = word(rng).lower()
            if name not in names:
                names.add(name)
                break
        if family == "intent":
            size = self.config.classes
            while True:
                rule = IntentRule.invent(rng, (size, size))
                if len(rule.intents) == size:
                    return rule, name
        return make_rule(rng, family, named=False), name

    def _demonstrate(self, rng: random.Random, rule: Rule, shown: list[Pair]) -> list[Pair]:
        if not isinstance(rule, IntentRule):
            return [_fresh(rng, rule, (), shown)]
        return [(intent.utter(rng, rule.theme), intent.label) for intent in rule.intents]


def _fresh(
    rng: random.Random, rule: Rule, shown: tuple[Pair, ...] | list[Pair], taken: list[Pair]
) -> Pair:
    """A pair whose input is new, if the rule has enough inputs to find one."""
    pair = rule.draw(rng, shown)
    for _ in range(20):
        if pair not in taken and pair not in shown:
            break
        pair = rule.draw(rng, shown)
    return pair


def _item(
    item_id: str, name: str, pair: Pair, kind: str, day: int, key: dict[str, tuple[str, ...]]
) -> Item:
    text, answer = pair
    key[item_id] = (answer,)
    return Item(item_id, Question(f"{name}: {text}"), kind, day)

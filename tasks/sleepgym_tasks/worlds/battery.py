"""The skill battery: what a model can do before any stream, as cells of question items.

Everything is drawn from reserved names and fresh rules. Seeds 0-99 are for tuning, 100-199 for
reporting.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.ledger import Fact, Ledger, Told
from sleepgym_tasks.worlds.passages import Author, Manner, Passage
from sleepgym_tasks.worlds.questions import Asker, Candidates, Question
from sleepgym_tasks.worlds.rules import rules
from sleepgym_tasks.worlds.world import base_world

PASSAGES_A_DAY = 4
QUESTIONS_A_SCENE = 5


class Item(NamedTuple):
    """One question with what stands before it.

    Attributes:
        documents: Titles and texts, oldest first.
        demonstrations: Questions and answers, oldest first.
        question: What is asked.
        answers: Every right answer; the first is the gold one.
    """

    documents: tuple[tuple[str, str], ...]
    demonstrations: tuple[tuple[str, str], ...]
    question: str
    answers: tuple[str, ...]


class Scene:
    """Passages of one context, and what can be asked about them.

    Args:
        rng: Source of randomness.
        count: Number of passages.
        manner: How to write.
        days: Whether they are read in days of four, so that entities return.
    """

    def __init__(
        self, rng: random.Random, count: int, manner: Manner | None = None, days: bool = True
    ) -> None:
        world = base_world()
        self.author = Author(rng, Register(rng, world.taken), world, manner)
        self.passages: list[Passage] = []
        while len(self.passages) < count:
            size = min(count - len(self.passages), PASSAGES_A_DAY if days else count)
            self.passages += self.author.write(size, day=len(self.passages) // PASSAGES_A_DAY)
        self.ledger: Ledger = self.author.ledger
        self.pool = Candidates(self.ledger, (t for p in self.passages for t in p.told))

    def item(self, question: Question, closed: bool = False) -> Item:
        """Put a question after the passages, or after nothing."""
        documents = () if closed else tuple((p.title, p.text) for p in self.passages)
        return Item(documents, (), question.text, question.answers)


Draw = Callable[[random.Random], Iterator[Item]]


def _few(rng: random.Random, options: list) -> list:
    return rng.sample(options, min(QUESTIONS_A_SCENE, len(options)))


def _plain(facts: list[Told]) -> list[Told]:
    return [told for told in facts if not told.replaced]


def _mixed(count: int, unseen_text: bool = False, unseen_question: bool = False) -> Draw:
    """Direct, paraphrased, reversed and two-hop questions about `count` passages."""

    def draw(rng: random.Random) -> Iterator[Item]:
        scene = Scene(rng, count, Manner(unseen=float(unseen_text)))
        asker = Asker(rng, scene.ledger, unseen=unseen_question)
        hops, reverses = scene.pool.hops(), scene.pool.reversible()
        for told in _few(rng, scene.pool.current):
            kind = rng.random()
            if kind < 0.2 and hops and not unseen_question:
                link, fact = rng.choice(hops)
                yield scene.item(asker.two_hop(link.fact, fact.fact))
            elif kind < 0.4 and reverses:
                yield scene.item(asker.reversed(rng.choice(reverses).fact))
            else:
                yield scene.item(asker.direct(told.fact, rng.choice(("direct", "paraphrase"))))

    return draw


def _reversed(rng: random.Random) -> Iterator[Item]:
    scene = Scene(rng, 10)
    asker = Asker(rng, scene.ledger)
    for told in _few(rng, scene.pool.reversible()):
        yield scene.item(asker.reversed(told.fact))


def _two_hop(across: bool) -> Draw:
    """Two-hop questions in ten passages; `across` asks for facts of two passages of one day."""

    def draw(rng: random.Random) -> Iterator[Item]:
        scene = Scene(rng, 10)
        asker = Asker(rng, scene.ledger)
        pairs = [
            (link.fact, told.fact)
            for link, told in scene.pool.hops()
            if not across or (link.passage != told.passage and link.day == told.day)
        ]
        for link, fact in _few(rng, pairs):
            yield scene.item(asker.two_hop(link, fact))

    return draw


def _alias(rng: random.Random) -> Iterator[Item]:
    scene = Scene(rng, 5, Manner(aliases=0.4, returns=0.5, from_base=0.1))
    asker = Asker(rng, scene.ledger)
    for told, surface, needs in _few(rng, scene.pool.aliased()):
        yield scene.item(asker.alias(told.fact, surface, needs))


def _changed(overrides: bool) -> Draw:
    """Questions whose answer changed within the context, or against the base world."""

    def draw(rng: random.Random) -> Iterator[Item]:
        manner = Manner(returns=0.8, from_base=1.0 if overrides else 0.0, updates=0.6)
        scene = Scene(rng, 5, manner, days=overrides)
        if not overrides:  # a second telling of the same entities
            scene = Scene(rng, 9, manner)
        asker = Asker(rng, scene.ledger)
        changed = [t for t in scene.pool.current if t.replaced and t.overrides == overrides]
        for told in _few(rng, changed):
            yield scene.item(asker.direct(told.fact, "updated"))

    return draw


def _locality(rng: random.Random) -> Iterator[Item]:
    """Base facts of entities that the context tells something else about."""
    scene = Scene(rng, 5, Manner(returns=0.8, from_base=1.0))
    asker = Asker(rng, scene.ledger)
    told = scene.ledger.told
    facts = [
        Fact(name, attribute, value)
        for name in told
        for attribute, value in scene.ledger.base.get(name, {}).items()
        if attribute not in told[name]
    ]
    for fact in _few(rng, facts):
        yield scene.item(asker.direct(fact, "locality"))


def _closed(rng: random.Random) -> Iterator[Item]:
    """Fresh facts without the passages: chance."""
    scene = Scene(rng, 4, Manner(returns=0.0))
    asker = Asker(rng, scene.ledger)
    for told in _few(rng, scene.pool.current):
        yield scene.item(asker.direct(told.fact, "paraphrase"), closed=True)


def _base(kind: str) -> Draw:
    """Questions on the base world."""

    def draw(rng: random.Random) -> Iterator[Item]:
        world = base_world()
        asker = Asker(rng, Ledger(world.facts, world.holders), unseen=kind == "unseen")
        for fact in rng.sample(world.all_facts(), 200):
            if kind != "reversed":
                question = asker.direct(fact, kind)
            elif len(world.holders[fact.attribute, fact.value]) == 1:
                question = asker.reversed(fact)
            else:
                continue
            yield Item((), (), question.text, question.answers)

    return draw


def _rule(family: str, shots: int) -> Draw:
    """New inputs of a fresh rule after that many demonstrations (a class, for intents)."""

    def draw(rng: random.Random) -> Iterator[Item]:
        rule = rules.make_rule(rng, family)
        if isinstance(rule, rules.IntentRule):
            shown = [
                (intent.utter(rng, rule.theme), intent.label)
                for intent in rule.intents
                for _ in range(shots)
            ]
            rng.shuffle(shown)
        else:
            shown = rules.draw_pairs(rng, rule, shots)
        for _ in range(QUESTIONS_A_SCENE):
            question, answer = rule.draw(rng, shown)
            yield Item((), tuple(shown), question, (answer,))

    return draw


CELLS: dict[str, Draw] = {
    "in_context_1": _mixed(1),
    "in_context_5": _mixed(5),
    "in_context_10": _mixed(10),
    "reversed_10": _reversed,
    "two_hop_10": _two_hop(False),
    "two_hop_across_10": _two_hop(True),
    "alias_5": _alias,
    "newest_wins": _changed(False),
    "override": _changed(True),
    "locality": _locality,
    "unseen_1": _mixed(1, True, True),
    "unseen_text_1": _mixed(1, True, False),
    "unseen_question_1": _mixed(1, False, True),
    "unseen_5": _mixed(5, True, True),
    "base_direct": _base("direct"),
    "base_paraphrase": _base("paraphrase"),
    "base_reversed": _base("reversed"),
    "base_unseen": _base("unseen"),
    "fresh_closed_book": _closed,
    **{f"list1_k{k}": _rule("list1", k) for k in (1, 4)},
    **{f"list2_k{k}": _rule("list2", k) for k in (1, 2, 4, 8)},
    **{f"string_k{k}": _rule("string", k) for k in (1, 4, 8)},
    **{f"map_k{k}": _rule("map", k) for k in (4, 8)},
    **{f"intent_k{k}": _rule("intent", k) for k in (1, 4)},
}


def draw_cell(name: str, seed: int = 100, count: int = 500) -> list[Item]:
    """Draw the items of a cell; the same for the same arguments, in any process."""
    items: list[Item] = []
    number = 0
    while len(items) < count:
        items += dict.fromkeys(CELLS[name](derive(seed, "battery", name, number)))
        number += 1
    return items[:count]


def draw_dream_scene(seed: int, number: int) -> tuple[Item, list[Fact]]:
    """Draw one passage to dream about, and all that is true in it."""
    scene = Scene(derive(seed, "battery", "dreams", number), 1)
    facts = [fact for passage in scene.passages for fact in passage.facts]
    return Item(tuple((p.title, p.text) for p in scene.passages), (), "", ()), facts

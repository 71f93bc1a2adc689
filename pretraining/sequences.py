"""The kinds of training sequence: reading, study (dreams), the base world, and few-shot rules.

A sequence is a list of parts `(marker, text, weight)`: a special token, the text after it, and the
weight that the loss gives to both.
"""

import random
from collections import Counter
from collections.abc import Iterator

from sleepgym_tasks.worlds.language.names import Register
from sleepgym_tasks.worlds.ledger import Fact, Ledger
from sleepgym_tasks.worlds.passages import Author, Manner, Passage
from sleepgym_tasks.worlds.questions import Asker, Candidates, Question
from sleepgym_tasks.worlds.rules import rules
from sleepgym_tasks.worlds.rules.extracts import make_extract
from sleepgym_tasks.worlds.rules.intents import IntentRule
from sleepgym_tasks.worlds.world import base_world

Part = tuple[str, str, float]
Sequence = list[Part]

TEXT, QUESTION, ANSWER, INPUT = 0.1, 0.5, 1.0, 0.1
START: Part = ("<bos>", "", 0.0)
LOOSENESS = (0.0, 0.0, 0.25, 0.25, 0.5, 0.8)
READING_KINDS = (
    ("fact", 26),
    ("reversed", 16),
    ("two_hop", 28),
    ("two_hop_back", 26),  # the link stands after the fact: the hardest to learn
    ("alias", 8),
    ("updated", 10),
    ("override", 4),
    ("locality", 5),
    ("two_hop_base", 3),
)
STUDY_KINDS = (("fact", 55), ("reversed", 20), ("two_hop", 17), ("alias", 8))


def _documents(passages: list[Passage]) -> Sequence:
    parts = [START]
    for passage in passages:
        parts += [("<doc>", passage.title, TEXT), ("<text>", passage.text, TEXT)]
    return parts


def _item(question: str, answer: str, asked: float, answered: float = ANSWER) -> Sequence:
    return [("<q>", question, asked), ("<a>", answer, answered), ("<end>", "", answered)]


def scene(rng: random.Random, count: int, reserved: bool = False) -> tuple[Author, list[Passage]]:
    """Write passages of one day, in a manner that differs from scene to scene."""
    world = base_world()
    manner = Manner(
        returns=rng.choice((0.1, 0.35, 0.6)),
        ties=rng.choice((0.2, 0.5)),
        aliases=rng.choice((0.05, 0.15, 0.3)),
        descriptions=rng.choice((0.0, 0.15)),
        asides=rng.choice((0.0, 0.0, 0.15)),
        loose=rng.choice(LOOSENESS),
    )
    author = Author(rng, Register(rng, world.taken, reserved), world, manner)
    passages: list[Passage] = []
    while len(passages) < count:  # a few "days", so that entities return within the context
        passages += author.write(min(count - len(passages), rng.randint(1, 6)))
    return author, passages


def _ask(
    rng: random.Random,
    ledger: Ledger,
    passages: list[Passage],
    kinds,
    count: int,
    plain: float,
    loose: float,
) -> Iterator[Question]:
    asker = Asker(rng, ledger, openers=0.04, loose=loose)
    pool = Candidates(ledger, (told for passage in passages for told in passage.told))
    changed = [told for told in pool.current if told.replaced]
    hops = pool.hops()
    rivals = Counter(told.fact.attribute for told in pool.current)
    returned = sorted({t.fact.subject for t in pool.current if t.fact.subject in ledger.base})
    found = {
        "fact": pool.current,
        "reversed": pool.reversible(rng.random() < plain),
        "two_hop": hops,
        # each as often as there are values to mistake it for
        "two_hop_back": [
            (link, told)
            for link, told in hops
            if told.passage < link.passage
            for _ in range(rivals[told.fact.attribute])
        ],
        "alias": pool.aliased(),
        "updated": changed,
        "override": [told for told in changed if told.overrides],
        "locality": [
            Fact(name, attribute, value)
            for name in returned
            for attribute, value in ledger.base[name].items()
            if attribute not in ledger.told[name]
        ],
        "two_hop_base": pool.base_hops(),
    }
    names = [(kind, weight) for kind, weight in kinds if found[kind]]
    drawn = rng.choices([k for k, _ in names], [w for _, w in names], k=count) if names else []
    seen = set()
    for kind in drawn:
        options = found[kind]
        chosen = options[int(rng.random() * len(options))]
        if kind == "reversed":
            question = asker.reversed(chosen.fact)
        elif kind in ("two_hop", "two_hop_back"):
            question = asker.two_hop(chosen[0].fact, chosen[1].fact)
        elif kind == "two_hop_base":
            question = asker.two_hop(chosen[0].fact, chosen[1], kind)
        elif kind == "alias":
            question = asker.alias(chosen[0].fact, chosen[1], chosen[2])
        else:
            fact = chosen if kind == "locality" else chosen.fact
            question = asker.direct(fact, "paraphrase")
        if question.text not in seen:
            seen.add(question.text)
            yield question


def reading(rng: random.Random, long: bool) -> Sequence:
    """Passages, then questions on them: comprehension with names never met before."""
    count = rng.randint(8, 20) if long else rng.choice((1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10))
    author, passages = scene(rng, count)
    parts = _documents(passages)
    asked = rng.randint(14, 28) if long else rng.randint(8, 16)
    for question in _ask(
        rng, author.ledger, passages, READING_KINDS, asked, 0.3, rng.choice(LOOSENESS)
    ):
        parts += _item(question.text, question.answers[0], QUESTION)
    return parts


def study(rng: random.Random, long: bool) -> Sequence:
    """Passages, then the model's own questions and answers on them: how it dreams."""
    author, passages = scene(rng, rng.randint(4, 10) if long else rng.choice((1, 1, 1, 2, 2, 3, 4)))
    parts = [*_documents(passages), ("<dream>", "", ANSWER)]
    for question in _ask(rng, author.ledger, passages, STUDY_KINDS, rng.randint(6, 12), 0.0, 0.0):
        parts += _item(question.text, question.answers[0], ANSWER)
    return parts


def base(rng: random.Random, long: bool) -> Sequence:
    """Questions on the base world, with nothing to read."""
    world = base_world()
    ledger = Ledger(world.facts, world.holders)
    asker = Asker(rng, ledger, openers=0.04, loose=rng.choice((0.0, 0.0, 0.3)))
    parts = [START]
    facts = _base_facts()
    for _ in range(rng.randint(6, 14)):
        fact = facts[int(rng.random() * len(facts))]
        single = len(world.holders[fact.attribute, fact.value]) == 1
        if single and rng.random() < 0.5:
            question = asker.reversed(fact)
        else:
            question = asker.direct(fact, "paraphrase")
        parts += _item(question.text, question.answers[0], QUESTION)
    return parts


_BASE_FACTS: list[Fact] = []


def _base_facts() -> list[Fact]:
    if not _BASE_FACTS:
        _BASE_FACTS.extend(base_world().all_facts())
    return _BASE_FACTS


def few_shot(rng: random.Random, long: bool) -> Sequence:
    """Demonstrations of one to three rules, mixed; the first of each cannot be known."""
    families = ("list1", "list2", "list2", "list2", "string", "string", "map")
    count = rng.choice((1, 1, 2, 3))
    chosen = [
        rules.make_rule(rng, rng.choice(families), named=count > 1 or rng.random() < 0.7)
        for _ in range(count)
    ]
    parts = [START]
    shown: list[list[rules.Pair]] = [[] for _ in chosen]
    for _ in range(rng.randint(6, 14) * count):
        i = int(rng.random() * count)
        pair = chosen[i].draw(rng, shown[i] if rng.random() < 0.8 else ())
        met = {symbol for question, _ in shown[i] for symbol in question.split()}
        isolated = isinstance(chosen[i], rules.MapRule) and not met.issuperset(pair[0].split())
        parts += _item(*pair, INPUT, ANSWER if shown[i] and not isolated else INPUT)
        shown[i].append(pair)
    return parts


def intents(rng: random.Random, long: bool) -> Sequence:
    """Utterances and labels, many shots of many classes; a label's first use is not scored."""
    most = rng.choice((3, 5, 10, 20, 40)) if long else rng.choice((2, 4, 8, 12, 20))
    rule = IntentRule.invent(rng, (2, most))
    parts = [START]
    labels: dict[str, None] = {}
    for _ in range(len(rule.intents) * rng.randint(2, 10)):
        utterance, label = rule.draw(rng)
        parts += _item(utterance, label, INPUT, ANSWER if label in labels else INPUT)
        labels[label] = None
    return parts


def extract(rng: random.Random, long: bool) -> Sequence:
    """Texts of random words, then questions that only matching words can answer."""
    parts, pairs = [START], []
    for _ in range(rng.randint(3, 8) if long else rng.randint(1, 3)):
        text, found = make_extract(rng, rng.randint(4, 14))
        title = found[0][1] if rng.random() < 0.3 else ""
        parts += [("<doc>", title, INPUT), ("<text>", text, INPUT)]
        pairs += found
    rng.shuffle(pairs)
    for pair in pairs[: rng.randint(4, 12)]:
        parts += _item(*pair, INPUT)
    return parts


MAKERS = {
    "reading": reading,
    "study": study,
    "base": base,
    "few_shot": few_shot,
    "intents": intents,
    "extract": extract,
}

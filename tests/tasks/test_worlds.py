"""The worlds: solvable, fresh, held-out phrasings kept out, the same bytes in every process."""

import hashlib
import os
import re
import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sleepgym_tasks.worlds.battery import CELLS, draw_cell
from sleepgym_tasks.worlds.language import names
from sleepgym_tasks.worlds.language.frames import FRAMES, framed, is_held_out
from sleepgym_tasks.worlds.language.loosening import vary
from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES, BY_OWNER
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.ledger import Fact
from sleepgym_tasks.worlds.passages import Author, Manner
from sleepgym_tasks.worlds.questions import Asker, Candidates
from sleepgym_tasks.worlds.rules import rules
from sleepgym_tasks.worlds.rules.extracts import make_extract
from sleepgym_tasks.worlds.verify import judge, truths
from sleepgym_tasks.worlds.world import base_world

SEEDS = st.integers(0, 10**6)
FEW = settings(max_examples=15, deadline=None)
BASE_DIGEST = "8c1cd07481340e3f"


def write(seed, count=6, **manner):
    world = base_world()
    register = names.Register(derive(seed, "names"), world.taken)
    author = Author(derive(seed, "author"), register, world, Manner(**manner))
    days = [author.write(count, day) for day in range(3)]
    return author, [passage for day in days for passage in day]


def test_the_base_world_never_changes():
    facts = repr(base_world().all_facts()).encode()
    assert len(base_world().all_facts()) == 9200
    assert hashlib.sha256(facts).hexdigest()[:16] == BASE_DIGEST


def test_there_are_ten_attributes_and_more_and_each_holds_phrasings_out():
    assert len(ATTRIBUTES) >= 10
    for name, attribute in ATTRIBUTES.items():
        for group in FRAMES:
            templates = getattr(attribute, group)
            assert len(templates) >= 3
            seen = (*templates[:-1], *framed(name, group))
            assert not any(is_held_out(name, template) for template in seen)


@FEW
@given(SEEDS)
def test_loose_wording_is_never_a_held_out_phrasing(seed):
    rng = derive(seed, "loose")
    for name, attribute in ATTRIBUTES.items():
        for template in (*attribute.passages[:-1], *attribute.questions[:-1]):
            assert not is_held_out(name, vary(rng, attribute, template))


@FEW
@given(SEEDS)
@example(43756)  # an entity of which everything had been told
def test_every_fact_stands_in_its_passage_and_every_answer_is_true(seed):
    author, passages = write(seed)
    for passage in passages:
        assert passage.told
        for told in passage.told:
            assert told.fact.value.lower() in passage.text.lower()
            assert told.surface.lower() in passage.text.lower()
    pool = Candidates(author.ledger, [t for p in passages for t in p.told])
    asker = Asker(derive(seed, "questions"), author.ledger)
    asked = [asker.direct(told.fact, "paraphrase") for told in pool.current]
    asked += [asker.reversed(told.fact) for told in pool.reversible()]
    asked += [asker.two_hop(link.fact, told.fact) for link, told in pool.hops()]
    known = truths([t.fact for p in passages for t in p.told])
    for question in asked:
        assert judge(question.text, question.answers[0], known) == "true"
        assert not re.search(rf"\b{re.escape(question.answers[0])}\b", question.text)


@FEW
@given(SEEDS)
def test_the_newest_fact_wins_and_links_behind_descriptions_stay_true(seed):
    author, passages = write(seed, returns=0.7, updates=0.7, descriptions=0.4)
    newest = {}
    for passage in passages:
        for fact in passage.facts:
            newest[fact.subject, fact.attribute] = fact.value
    for (subject, attribute), value in newest.items():
        assert author.ledger.value(subject, attribute) == value
    for passage in passages:
        for told in passage.told:
            if told.surface != told.fact.subject and not told.surface.startswith("the "):
                continue
            if told.surface.startswith("the ") and " of " in told.surface:
                assert author.ledger.pointers(told.fact.subject)


@FEW
@given(SEEDS)
def test_fresh_names_are_reserved_and_never_of_the_base_world(seed):
    world = base_world()
    register = names.Register(derive(seed, "names"), world.taken)
    drawn = [register.fresh(kind) for kind in names.MAKERS for _ in range(30)]
    assert len(set(drawn)) == len(drawn)
    assert not world.taken.intersection(drawn)
    assert all(names.is_reserved(name) for name in drawn)
    assert not any(names.is_reserved(name) for name in world.kinds)


@FEW
@given(SEEDS, st.sampled_from(rules.FAMILIES))
def test_rules_answer_from_what_was_shown(seed, family):
    rng = derive(seed, "rule")
    rule = rules.make_rule(rng, family)
    shown = rules.draw_pairs(rng, rule, 8)
    question, answer = rule.draw(rng, shown)
    assert question
    assert answer
    if family == "map":
        met = {symbol for text, _ in shown for symbol in text.split()}
        assert set(question.split()) <= met
    if family == "intent":
        assert answer in {label for _, label in shown}


@FEW
@given(SEEDS)
def test_extracts_hold_their_answers(seed):
    text, pairs = make_extract(derive(seed, "extract"), 8)
    assert pairs
    assert all(answer.lower() in text.lower() for _, answer in pairs)


def test_a_false_and_a_foreign_item_are_told_apart():
    facts = [Fact("Tavo Brelin", "person.job", "baker")]
    question = ATTRIBUTES["person.job"].questions[0].format(s="Tavo Brelin")
    known = truths(facts)
    assert judge(question, "baker", known) == "true"
    assert judge(f"Tell me, {question[0].lower()}{question[1:]}", "baker", known) == "true"
    assert judge(question, "mason", known) == "false"
    assert judge("Who is the Pope?", "baker", known) == "foreign"


def test_every_kind_of_entity_has_attributes():
    assert all(len(attributes) >= 9 for attributes in BY_OWNER.values())


def digest() -> str:
    text = repr([draw_cell(name, 3, 6) for name in CELLS])
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    here = os.path.dirname(__file__)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_worlds as t; print(t.digest())"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert outputs == {digest()}

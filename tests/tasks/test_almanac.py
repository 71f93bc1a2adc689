"""Almanac and Codebook: an oracle answers everything, a reader of one day cannot."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym import make_env
from sleepgym.core.schedule import schedule
from sleepgym_tasks.envs.almanac import Almanac, AlmanacConfig, AlmanacV1
from sleepgym_tasks.envs.codebook import Codebook, CodebookConfig
from sleepgym_tasks.worlds.almanac.disclosure import Disclosure
from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES
from sleepgym_tasks.worlds.language.values import VALUES
from sleepgym_tasks.worlds.passages import Author
from sleepgym_tasks.worlds.verify import judge, truths
from sleepgym_tasks.worlds.world import base_world

seeds = st.integers(0, 2**32)


def read(documents):
    """What an oracle takes from sentences: (attribute, subject, value) in order of telling."""
    told = []
    for document in documents:
        for sentence in re.split(r"(?<=\.) (?=[A-Z])", document.text):
            for attribute in ATTRIBUTES.values():
                for template in attribute.passages:
                    pattern = re.escape(template).replace(r"\{s\}", "(?P<s>.+?)", 1)
                    pattern = pattern.replace(r"\{v\}", "(?P<v>.+?)", 1)
                    pattern = pattern.replace(r"\{s\}", "(?P=s)").replace(r"\{v\}", "(?P=v)")
                    match = re.search(f"{pattern}$", sentence, flags=re.IGNORECASE)
                    if match:
                        told.append((attribute.name, match["s"], match["v"]))
    return told


def items_of(stream):
    return [item for day in stream.days for item in day.exam]


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_every_answer_stands_in_the_texts_or_in_the_base_world(seed):
    stream = Almanac().stream(seed)
    texts = {day.number: " ".join(d.text + d.title for d in day.documents) for day in stream.days}
    world = base_world()
    for item in items_of(stream):
        (answer,) = stream.key[item.id]
        so_far = " ".join(texts[n] for n in texts if n <= item.day)
        assert answer.lower() in so_far.lower(), item
    for item in stream.base:
        (answer,) = stream.key[item.id]
        assert any(answer in facts.values() for facts in world.facts.values())


@pytest.mark.parametrize("seed", range(8))
def test_an_oracle_that_reads_the_stream_answers_every_question(seed, monkeypatch):
    written = {}
    write = Author.write

    def keep(self, count, day=0):
        written[day] = write(self, count, day)
        return written[day]

    monkeypatch.setattr(Author, "write", keep)
    stream = Almanac().stream(seed)
    world, told = base_world(), []
    for day in stream.days:
        told += [fact for passage in written[day.number] for fact in passage.facts]
        met = {name for fact in told for name in (fact.subject, fact.value)}
        born = [f for f in world.all_facts() if f.subject in met]
        known = truths([*born, *told])
        for item in day.exam:
            assert judge(item.question.text, stream.key[item.id][0], known) == "true", item


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_no_question_holds_its_answer(seed):
    stream = Almanac().stream(seed)
    for item in (*items_of(stream), *stream.base):
        words = rf"\b{re.escape(stream.key[item.id][0])}\b"
        assert not re.search(words, item.question.text), item


def test_a_reader_of_one_day_cannot_answer_across_days():
    """The answer of a two-hop-days question is not told by its own day, or its link is not."""
    across = 0
    for seed in range(5):
        stream = Almanac().stream(seed)
        for day in stream.days:
            told = read(day.documents)
            for item in day.exam:
                if item.kind != "two-hop-days":
                    continue
                across += 1
                (answer,) = stream.key[item.id]
                tells_answer = {s for _, s, v in told if v.lower() == answer.lower()}
                named = {v for _, s, v in told if s.lower() in item.question.text.lower()}
                assert not {n.lower() for n in tells_answer} & {n.lower() for n in named}, item
    assert across > 50


def test_the_default_stream_has_every_kind_and_returns():
    kinds = Counter()
    for seed in range(10):
        stream = Almanac().stream(seed)
        kinds += Counter(item.kind for item in (*items_of(stream), *stream.base))
    assert set(kinds) == {
        "direct",
        "paraphrase",
        "unseen",
        "reversed",
        "two-hop",
        "two-hop-days",
        "alias",
        "updated",
        "override",
        "locality",
        "base",
    }
    assert min(kinds.values()) >= 10


def test_disjoint_days_share_nobody():
    stream = Almanac(AlmanacConfig(**Almanac.presets["disjoint"])).stream(4)
    assert not {"two-hop-days", "updated", "override"} & {i.kind for i in items_of(stream)}
    subjects = [{s for _, s, _ in read(day.documents)} for day in stream.days]
    assert not any(a & b for n, a in enumerate(subjects) for b in subjects[:n])


def test_the_newest_fact_wins():
    """Of two askings of one question, the older is retired the night before the newer."""
    retired = 0
    for seed in range(20):
        stream = Almanac(AlmanacConfig(returns=0.8, updates=0.9)).stream(seed)
        for step in schedule(stream):
            if not step.closed_book or step.night == 0:
                continue
            asked = {}
            for item in step.items:
                if item.day <= step.night:
                    previous = asked.setdefault(item.question.text, stream.key[item.id])
                    assert previous == stream.key[item.id], item
        retired += sum(item.until is not None for item in items_of(stream))
    assert retired > 20


def test_fresh_names_never_collide_with_the_base_world():
    world = base_world()
    stream = Almanac(AlmanacConfig(days=30, returns=0.0, ties=0.0, descriptions=0.0)).stream(1)
    titles = {d.title for day in stream.days for d in day.documents if d.title}
    assert len(titles) > 60
    assert not titles & set(world.kinds)


def test_a_long_stream_is_written_in_time_linear_in_its_days():
    stream = Almanac(AlmanacConfig(days=300)).stream(2)
    assert len(stream.days) == 300
    assert len(stream.key) == len(items_of(stream)) + len(stream.base)


@pytest.mark.parametrize("family", [Almanac, Codebook])
def test_seeds_of_other_numbers_share_nothing(family):
    first, second = (
        {d.text for day in family().stream(seed).days for d in day.documents}
        | {i.question.text for day in family().stream(seed).days for i in day.exam}
        for seed in (1, 2)
    )
    assert len(first & second) <= 1


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_codebook_tests_are_new_and_names_are_unique(seed):
    stream = Codebook(CodebookConfig(days=3)).stream(seed)
    rules = Counter()
    for day in stream.days:
        shown = {item.question.text for r in day.practice for item in r}
        names = {item.question.text.split(":")[0] for item in day.exam}
        rules.update(names)
        sequences = [i for i in day.exam if i.kind in ("list2", "string")]
        assert not {i.question.text for i in sequences} & shown
        assert [i.kind for i in day.practice[2]] == ["after-2"] * len(day.practice[2])
    assert set(rules.values()) == {1}
    assert len(rules) == 12


def test_a_map_is_tested_on_symbols_it_showed():
    stream = Codebook(CodebookConfig(days=6, families=("map",))).stream(5)
    for day in stream.days:
        shown = {}
        for item in (i for r in day.practice for i in r):
            name, text = item.question.text.split(": ")
            pairs = zip(text.split(), stream.key[item.id][0].split(), strict=True)
            shown.setdefault(name, {}).update(pairs)
        for item in day.exam:
            name, text = item.question.text.split(": ")
            said = " ".join(shown[name][symbol] for symbol in text.split())
            assert said == stream.key[item.id][0]


def test_kinds_can_be_chosen_and_weighed():
    chosen = AlmanacConfig(kinds=("direct", "direct", "reversed"))
    counts = Counter(item.kind for item in items_of(Almanac(chosen).stream(3)))
    assert set(counts) <= {"direct", "reversed", "locality"}
    assert counts["direct"] > 1.4 * counts["reversed"]


def test_codebook_asks_no_input_of_a_rule_twice():
    config = CodebookConfig(days=12, rules=2, families=("list2",), demonstrations=60, tests=60)
    stream = Codebook(config).stream(3)
    for day in stream.days:
        texts = [i.question.text for i in (*day.exam, *(j for r in day.practice for j in r))]
        assert len(texts) == len(set(texts)) == 240


# -- version 1 ----------------------------------------------------------------------------------

GOLDEN = {
    ("Almanac", "default"): ("0896f184bcac0091", "ec9462f03c9beb0a"),
    ("Almanac", "disjoint"): ("9735b699bd3fe89f", "3b5ef82370ae0f83"),
    ("Codebook", "default"): ("c7cd6db8273ca63a", "b1dd34791408e7b1"),
}


@pytest.mark.parametrize(("family", "preset"), GOLDEN)
def test_streams_of_version_0_are_as_they_were(family, preset):
    env = make_env(f"sleepgym/{family}-v0", preset=preset)
    hashes = [env.reset(seed=seed)[1]["stream_hash"][:16] for seed in (0, 1)]
    assert hashes == list(GOLDEN[family, preset])


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_no_question_of_version_1_mentions_the_answer_of_another(seed):
    stream = AlmanacV1().stream(seed)
    lists = {value for values in VALUES.values() for value in values}
    items = (*items_of(stream), *stream.base)
    names = {stream.key[item.id][0] for item in items} - lists
    assert len(names) > 20
    one_of_them = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    for item in items:
        assert not one_of_them.search(item.question.text), item


@pytest.mark.parametrize("seed", range(8))
def test_no_fact_of_version_1_is_both_asked_and_a_step_to_another(seed, monkeypatch):
    added = []
    add = Disclosure.add
    monkeypatch.setattr(
        Disclosure, "add", lambda self, q, alone: (added.append(q), add(self, q))[1]
    )
    AlmanacV1().stream(seed)
    asked = {question.needs[-1] for question in added}
    steps = {fact for question in added for fact in question.needs[:-1]}
    assert steps
    assert not asked & steps
    ways = {(q.needs[-1], q.answers[0] == q.needs[-1].subject) for q in added}
    assert len(ways) == len(asked), "a fact is asked in both directions"


def test_version_1_tells_the_same_and_asks_as_much():
    kinds, before, questions = Counter(), Counter(), []
    for seed in range(10):
        stream, old = AlmanacV1().stream(seed), Almanac().stream(seed)
        assert [day.documents for day in stream.days] == [day.documents for day in old.days]
        kinds += Counter(item.kind for item in (*items_of(stream), *stream.base))
        before += Counter(item.kind for item in (*items_of(old), *old.base))
        questions += [len(day.exam) for day in stream.days]
    assert set(kinds) == set(before)
    assert all(kinds[kind] > 0.4 * before[kind] for kind in before), kinds
    assert sum(questions) / len(questions) > 23.5

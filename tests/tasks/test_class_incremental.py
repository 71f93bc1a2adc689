"""Class-incremental streams over every data set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import bm25s
import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import sleepgym
from sleepgym.core.errors import BadSetting, UnknownName
from sleepgym.core.schedule import schedule
from sleepgym.core.types import Phase
from sleepgym_tasks.datasets import banking77, clinc150, dbpedia
from sleepgym_tasks.envs.class_incremental import (
    ClassIncremental,
    ClassIncrementalConfig,
    ClassIncrementalV1,
    arrange,
)

ID = "sleepgym/ClassIncremental-v0"
V1 = "sleepgym/ClassIncremental-v1"
DATASETS = ["clinc150", "banking77", "dbpedia", "dbpedia14", "invented"]


def make(data, seed=0, **settings):
    return ClassIncremental(ClassIncrementalConfig(**settings), data=data).stream(seed)


@pytest.fixture(params=DATASETS)
def dataset(request) -> str:
    return request.param


def all_items(stream):
    for day in stream.days:
        yield from (item for round_items in day.practice for item in round_items)
        yield from day.exam


def test_a_day_brings_new_labels_and_their_texts(dataset, data_dir):
    stream = make(data_dir, dataset=dataset)
    labels = [label for day in stream.days for label in day.labels]
    assert len(labels) == len(set(labels)) > 1
    assert len(stream.days) > 1
    for day in stream.days:
        assert not day.documents
        for items, most in ((day.practice[0], 10), (day.exam, 5)):
            answers = Counter(stream.key[item.id][0] for item in items)
            assert set(answers) == set(day.labels)
            assert 1 <= max(answers.values()) <= most
        assert all(item.day == day.number for item in day.exam)
    ids = [item.id for item in all_items(stream)]
    assert len(ids) == len(set(ids)) == len(stream.key)
    assert all(item.question.choices == () for item in all_items(stream))


def test_gold_answers_score_one_and_others_do_not(dataset, data_dir):
    env = sleepgym.make_env(ID, dataset=dataset, data=data_dir, days=2)
    env.reset(seed=1)
    for step in env.steps:
        answers = [env.stream.key[item.id][0] for item in step.items]
        for gold, question in zip(answers, step.questions, strict=True):
            assert gold in question.choices
        info = env.step(answers)[4]
        assert not step.items or min(info["scores"]) == 1.0
    family = env.family
    assert family.score("pin_change", "pin") == 0.0
    assert family.score(" pin ", "pin") == 1.0


def test_the_stream_is_a_function_of_the_seed(dataset, data_dir):
    hashes = [make(data_dir, seed, dataset=dataset).content_hash for seed in (0, 0, 1, 2)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_another_process_makes_the_same_stream(data_dir):
    code = (
        "import sleepgym, sys; e = sleepgym.make_env(sys.argv[1], dataset=sys.argv[2],"
        " data=sys.argv[3]); print(e.reset(seed=7)[1]['stream_hash'])"
    )
    for name in ("clinc150", "invented"):
        done = subprocess.run(
            [sys.executable, "-c", code, ID, name, str(data_dir)],
            env={**os.environ, "PYTHONHASHSEED": "99"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == make(data_dir, 7, dataset=name).content_hash


def test_the_environment_checker_has_no_complaint():
    env = gymnasium.make(V1, dataset="invented", preset="small", disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("preset", ClassIncremental.presets)
def test_presets_run(preset, data_dir):
    env = sleepgym.make_env(ID, preset=preset, data=data_dir)
    assert env.reset(seed=0)[0]["questions"]


def test_observations_hold_no_ids_and_no_feedback_before_the_answer(data_dir):
    env = sleepgym.make_env(ID, data=data_dir, preset="small", out_of_scope=True)
    observation, _ = env.reset(seed=0)
    for step in env.steps:
        for text, item in zip(observation["questions"], step.items, strict=True):
            assert text == item.question.text
            assert item.id not in str(observation)
        observation = env.step([""] * len(step.items))[0]
        practised = step.phase is Phase.PRACTICE
        golds = tuple(env.stream.key[item.id][0] for item in step.items)
        assert observation["feedback"] == (golds if practised else ())


def test_choices_grow_by_the_day(data_dir):
    stream = make(data_dir)
    for step in schedule(stream):
        for question, item in zip(step.questions, step.items, strict=True):
            seen = stream.days[: max(step.day, item.day)]
            assert question.choices == tuple(label for day in seen for label in day.labels)


def test_out_of_scope_is_a_choice_from_day_one_and_spread_over_days(data_dir):
    stream = make(data_dir, out_of_scope=True)
    plain_stream = make(data_dir)
    assert [day.labels for day in plain_stream.days][1:] == [d.labels for d in stream.days][1:]
    assert stream.days[0].labels == ("oos", *plain_stream.days[0].labels)
    for day in stream.days:
        for items in (day.practice[0], day.exam):
            odd = [item for item in items if item.kind == "out-of-scope"]
            assert len(odd) == 2  # 20 queries over ten days
            assert all(stream.key[item.id] == ("oos",) for item in odd)
    ids = [item.id for item in all_items(stream)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("settings", "error", "what"),
    [
        ({"days": 11}, BadSetting, "at most 10 days"),
        ({"days": 0}, BadSetting, "days=0"),
        ({"dataset": "clink"}, BadSetting, "dataset=clink"),
        ({"dataset": "banking77", "out_of_scope": True}, BadSetting, "needs dataset=clinc150"),
        ({"day": 1}, UnknownName, "days"),
        ({"preset": "papers"}, UnknownName, "paper"),
    ],
)
def test_bad_settings_are_named(settings, error, what, data_dir):
    with pytest.raises(error, match=what):
        sleepgym.make_env(ID, data=data_dir, **settings).reset(seed=0)


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=8),
    st.integers(1, 25),
)
def test_arrange_cuts_and_joins_without_loss(sizes, per_day):
    groups = [tuple(f"{g}-{i}" for i in range(size)) for g, size in enumerate(sizes)]
    days = arrange(groups, per_day)
    flat = [label for day in days for label in day]
    assert sorted(flat) == sorted(label for group in groups for label in group)
    assert all(1 <= len(day) <= per_day for day in days)
    if per_day >= max(sizes):
        for group in groups:
            assert any(set(group) <= set(day) for day in days)


def test_arrange_goes_round_the_groups():
    groups = [("a", "b", "c"), ("d", "e", "f")]
    assert arrange(groups, 3) == groups
    assert arrange(groups, 2) == [("a", "b"), ("d", "e"), ("c", "f")]
    assert arrange(groups, 6) == [("a", "b", "c", "d", "e", "f")]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_invented_stream_is_learnt_by_bm25(seed):
    stream = make(None, seed, dataset="invented", train_per_class=8)
    seen, asked = (
        [(item.question.text, stream.key[item.id][0]) for day in stream.days for item in part(day)]
        for part in (lambda day: day.practice[0], lambda day: day.exam)
    )
    index = bm25s.BM25()
    index.index(bm25s.tokenize([t for t, _ in seen], show_progress=False), show_progress=False)
    questions = bm25s.tokenize([text for text, _ in asked], show_progress=False)
    hits, _ = index.retrieve(questions, k=1, show_progress=False)
    right = [seen[hit[0]][1] == label for hit, (_, label) in zip(hits, asked, strict=True)]
    assert sum(right) / len(right) > 0.95
    assert sum(len(day.labels) for day in stream.days) == 30


def test_dbpedia14_never_examines_what_it_practises(data_dir):
    texts = dbpedia.load14(data_dir)
    for label in texts.train:
        assert len(texts.train[label]) == 16
        assert len(texts.test[label]) == 4
        assert not set(texts.train[label]) & set(texts.test[label])


def test_banking_texts_keep_commas_quotes_and_line_breaks(data_dir):
    texts = banking77.load(data_dir)
    assert all('"' in row.text and "\n" in row.text for row in texts.test[texts.groups[0][0]])


# -- version 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "hashes"),
    [
        ("default", ["95004d97975036ce", "10440a8226c1bd89"]),
        ("small", ["8f510cbdf468c453", "2c32951ec53b1d17"]),
    ],
)
def test_streams_of_version_0_are_as_they_were(preset, hashes):
    env = sleepgym.make_env(ID, dataset="invented", preset=preset)
    assert [env.reset(seed=seed)[1]["stream_hash"][:16] for seed in (0, 1)] == hashes


@pytest.mark.parametrize("out_of_scope", [False, True])
def test_choices_of_version_1_are_the_same_for_every_question_of_the_stream(data_dir, out_of_scope):
    config = ClassIncrementalConfig(days=3, out_of_scope=out_of_scope)
    stream = ClassIncrementalV1(config, data=data_dir).stream(0)
    labels = tuple(sorted(label for day in stream.days for label in day.labels))
    assert ("oos" in labels) == out_of_scope
    for step in schedule(stream):
        assert {question.choices for question in step.questions} <= {labels}


def test_version_1_examines_as_many_texts_a_day_but_not_as_many_of_each_class():
    old = make(None, 3, dataset="invented")
    config = ClassIncrementalConfig(dataset="invented")
    new = ClassIncrementalV1(config).stream(3)
    counts = Counter()
    for before, day in zip(old.days, new.days, strict=True):
        assert day.labels == before.labels
        assert [i.question.text for i in day.practice[0]] == [
            i.question.text for i in before.practice[0]
        ]
        assert len(day.exam) == len(before.exam) == 25
        of_class = Counter(new.key[item.id][0] for item in day.exam)
        assert set(of_class) == set(day.labels)
        counts.update(of_class.values())
    assert len(counts) > 4  # 25 texts on 5 classes, seldom 5 each


def test_version_1_with_every_text_examines_every_text(data_dir):
    config = ClassIncrementalConfig(tests_per_class=None)
    new = ClassIncrementalV1(config, data=data_dir).stream(0)
    old = make(data_dir, tests_per_class=None)
    assert [len(day.exam) for day in new.days] == [len(day.exam) for day in old.days]


# -- the original files -------------------------------------------------------------------------


def test_clinc150_is_ten_domains_of_fifteen_intents(real_data):
    texts = clinc150.load(real_data)
    assert [len(group) for group in texts.groups] == [15] * 10
    assert {len(rows) for rows in texts.train.values()} == {100}
    assert {len(rows) for rows in texts.test.values()} == {30}
    assert (len(texts.out_of_scope_train), len(texts.out_of_scope_test)) == (100, 1000)
    domains = {frozenset(group) for group in texts.groups}
    for seed in (0, 1):
        stream = make(real_data, seed)
        assert {frozenset(day.labels) for day in stream.days} == domains
        assert [len(day.practice[0]) for day in stream.days] == [150] * 10
        assert [len(day.exam) for day in stream.days] == [75] * 10


def test_clinc150_paper_protocol_uses_every_text(real_data):
    settings = {"train_per_class": None, "tests_per_class": None, "out_of_scope": True}
    stream = make(real_data, **settings)
    assert sum(len(day.practice[0]) for day in stream.days) == 15_100
    assert sum(len(day.exam) for day in stream.days) == 5_500


def test_dbpedia14_has_fourteen_classes(real_data):
    texts = dbpedia.load14(real_data)
    assert len(texts.groups[0]) == 14
    total = sum(len(rows) for part in (texts.train, texts.test) for rows in part.values())
    assert total == 7600
    assert [len(day.labels) for day in make(real_data, dataset="dbpedia14").days] == [2] * 7


def test_banking77_has_77_classes(real_data):
    if not (real_data / "banking77" / "train.csv").is_file():
        pytest.skip("no original Banking77 at hand")
    texts = banking77.load(real_data)
    assert sum(len(rows) for rows in texts.train.values()) == 10_003
    assert sum(len(rows) for rows in texts.test.values()) == 3_080
    assert [len(day.labels) for day in make(real_data, dataset="banking77").days] == [11] * 7


def test_codes_take_the_place_of_names_and_of_nothing_else(data_dir):
    def v1(seed, **settings):
        config = ClassIncrementalConfig(out_of_scope=True, **settings)
        return ClassIncrementalV1(config, data=data_dir).stream(seed)

    names, codes = v1(0), v1(0, labels="codes")
    meaning = {}
    for named, coded in zip(all_items(names), all_items(codes), strict=True):
        assert (named.id, named.question.text) == (coded.id, coded.question.text)
        assert meaning.setdefault(names.key[named.id], codes.key[coded.id]) == codes.key[coded.id]
        assert coded.question.choices == tuple(sorted(coded.question.choices))
        assert codes.key[coded.id][0] in coded.question.choices
    assert len(set(meaning.values())) == len(meaning) == len(coded.question.choices)
    for day, other in zip(names.days, codes.days, strict=True):
        assert tuple(meaning[(label,)][0] for label in day.labels) == other.labels
    assert not {label for (label,) in meaning} & {code for (code,) in meaning.values()}
    texts = " ".join(item.question.text for item in all_items(codes))
    assert not any(code in texts for (code,) in meaning.values())
    assert v1(1, labels="codes").key["clinc150/test/test/0"] != codes.key["clinc150/test/test/0"]

"""Needles: each once, at its depth, in text of the length asked for."""

from __future__ import annotations

import re
import tracemalloc

import pytest

import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.envs.haystack import _pairs

ID = "sleepgym/Haystack-v0"
HAYSTACKS = ("noise", "text", "needles")


def day_text(day):
    return " ".join(document.text for document in day.documents)


@pytest.mark.parametrize("haystack", HAYSTACKS)
@pytest.mark.parametrize("keys", ["words", "uuids"])
@pytest.mark.parametrize("values", ["numbers", "words", "uuids"])
def test_every_needle_occurs_once_and_nothing_leaks(haystack, keys, values, data_dir):
    settings = {"haystack": haystack, "keys": keys, "values": values, "words": "ruler"}
    env, stream = family_checks.make(ID, data_dir, **settings, repeat_text=True, days=2)
    whole = " ".join(map(day_text, stream.days))
    for day in stream.days:
        text = day_text(day)
        assert 3500 < len(text) < 4600
        for item in day.exam:
            key = re.search(r"for (\S+( two)?(-\S+)?( two)?) mentioned", item.question.text)[1]
            (value,) = stream.key[item.id]
            assert text.count(f"for {key} is: {value}.") == 1
            assert whole.count(f" {key} is:") == 1
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_the_walk_over_keys_meets_every_pair_once():
    for seed in range(5):
        keys = list(_pairs(seed, ("a", "b", "c", "d"), ("u", "v", "w", "x", "y", "z")))
        assert len(keys) == len(set(keys)) == 24


def test_depths_are_spread_over_the_day():
    places = []
    for seed in range(30):
        (day,) = family_checks.make(ID, seed=seed, days=1)[1].days
        text = day_text(day)
        places += [match.start() / len(text) for match in re.finditer("One of the special", text)]
    assert len(places) == 120
    assert sum(place < 0.5 for place in places) in range(40, 80)
    assert min(places) < 0.1
    assert max(places) > 0.85


def test_documents_are_chunks():
    (day,) = family_checks.make(ID, days=1, tokens=5000, chunk_tokens=100)[1].days
    assert 45 <= len(day.documents) <= 60
    assert all(len(document.text) <= 400 for document in day.documents)


def test_presets_are_rulers_tasks(data_dir):
    for name in ("niah_multikey_1", "niah_multikey_2", "niah_multikey_3"):
        env, stream = family_checks.make(ID, data_dir, preset=name, words="built-in", days=1)
        assert 14_000 < len(day_text(stream.days[0])) < 17_000
        assert env.family.score(f"It is {next(iter(stream.key.values()))[0]}, sir.", "x") == 0.0
        assert env.family.score("It is 1234567, sir.", "1234567") == 1.0


def test_a_million_tokens_are_never_held():
    family = family_checks.sleepgym.make_env(ID, preset="million", tokens=250_000).family
    tracemalloc.start()
    (day,) = family.stream(0).days
    read = sum(len(document.text) for document in day.documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read > 900_000
    assert peak < 0.2 * read


@pytest.mark.parametrize("haystack", HAYSTACKS)
def test_a_day_reads_the_same_whenever_it_is_read(haystack, data_dir):
    settings = {"haystack": haystack, "words": "ruler", "repeat_text": True, "days": 1}
    (day,) = family_checks.make(ID, data_dir, **settings)[1].days
    assert tuple(day.documents) == tuple(day.documents)
    assert len(day.documents) == len(tuple(day.documents))
    assert day.documents[-1] == tuple(day.documents)[-1]


def test_bad_requests_are_one_line(data_dir, tmp_path, monkeypatch):
    refused = family_checks.settings_refused
    refused(ID, BadSetting, "tokens=100 hold at most 2", tokens=100)
    refused(ID, BadSetting, "less than or equal to 10000000", tokens=10_000_001)
    refused(
        ID,
        BadData,
        r"2701-0\.txt: about 1,\d+ tokens, not the",
        data_dir,
        haystack="text",
        tokens=10_000_000,
    )
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path))
    refused(
        ID,
        MissingData,
        r"gutenberg_moby_dick/2701-0\.txt is missing",
        tmp_path,
        haystack="text",
        tokens=10_000_000,
    )
    refused(ID, MissingData, r"no text 'b\.txt'", tmp_path, haystack="text", text="b.txt")
    refused(
        ID,
        BadSetting,
        "all keys are used by day",
        data_dir,
        words="ruler",
        needles=600,
        days=3,
        tokens=24_000,
    )
    (tmp_path / "ruler_niah_words").mkdir()
    (tmp_path / "ruler_niah_words" / "adjectivelist.txt").write_text("")
    refused(ID, BadData, r"adjectivelist\.txt: it is empty", tmp_path, words="ruler")


# -- the original files -------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["niah_multikey_1", "niah_multikey_2", "niah_multikey_3"])
def test_original_files_make_rulers_tasks(preset, real_data):
    env, stream = family_checks.make(ID, real_data, preset=preset)
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)
    assert all(15_000 < len(day_text(day)) < 17_000 for day in stream.days)

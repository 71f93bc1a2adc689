"""Exemplars from outside the stream, the same for every agent; and metrics where text is free."""

from itertools import pairwise

import pytest

from sleepgym.core.env import make_env
from sleepgym.core.errors import BadSetting
from sleepgym_tasks.envs import squad
from sleepgym_tasks.envs.almanac import AlmanacV1

SETTINGS = {
    "sleepgym/Almanac-v0": {"days": 2},
    "sleepgym/Almanac-v1": {"days": 2},
    "sleepgym/BABILong-v0": {},
    "sleepgym/Haystack-v0": {},
    "sleepgym/Jsonl-v0": {},
    "sleepgym/KnowledgeEdit-v0": {"days": 3},
    "sleepgym/LongDocs-v0": {"days": 2, "passages": 3},
}


def stream(env_id, data=None, seed=4, **settings):
    env = make_env(env_id, data=data, **settings)
    env.reset(seed=seed)
    return env.stream


def asked(shown):
    return {question.text for one in shown for question in one.questions}


@pytest.mark.parametrize("env_id", SETTINGS)
def test_exemplars_come_from_outside(env_id, data_dir):
    bare = stream(env_id, data_dir, **SETTINGS[env_id])
    told = stream(env_id, data_dir, **SETTINGS[env_id], shots=2)
    shown = told.introduction.exemplars
    assert not bare.introduction
    assert told.introduction.instruction
    assert (told.days, told.base, dict(told.key)) == (bare.days, bare.base, dict(bare.key))
    assert told.content_hash != bare.content_hash
    assert told == stream(env_id, data_dir, **SETTINGS[env_id], shots=2)
    assert len(shown) == 2
    assert all(one.documents and one.questions for one in shown)
    assert all(len(one.questions) == len(one.answers) for one in shown)
    own = {item.question.text for day in told.days for item in day.exam}
    titles = {document.title for day in told.days for document in day.documents} - {""}
    assert own.isdisjoint(asked(shown))
    assert titles.isdisjoint(document.title for one in shown for document in one.documents)


def test_streams_of_an_environment_begin_with_the_same_exemplars(data_dir):
    for env_id in ("sleepgym/Almanac-v1", "sleepgym/SQuAD-v0"):
        shown = [stream(env_id, data_dir, seed, days=1, shots=2).introduction for seed in (4, 5)]
        assert shown[0] == shown[1]
    settings = {"days": 1, "shots": 1, "passages": 4, "questions": 4}
    wide = stream("sleepgym/Almanac-v1", **settings).introduction
    assert wide.exemplars[0].documents == shown_documents("sleepgym/Almanac-v1", days=3, shots=1)


def shown_documents(env_id, **settings):
    return stream(env_id, **settings).introduction.exemplars[0].documents


def test_neighbours_of_an_exemplar_of_almanac_ask_about_different_passages():
    for shown in stream("sleepgym/Almanac-v1", days=1, shots=2).introduction.exemplars:
        about = []
        for answer in shown.answers:
            holds = [answer.casefold() in d.text.casefold() for d in shown.documents]
            about.append(holds.index(True) if any(holds) else 0)
        assert len(shown.documents) == 4
        assert len(about) > 24
        same = sum(a == b for a, b in pairwise(about))
        assert same <= max(about.count(i) for i in range(4)) - min(about.count(i) for i in range(4))


def test_an_instruction_goes_with_exemplars_or_alone():
    env_id = "sleepgym/Almanac-v1"
    assert not stream(env_id, days=1, shots=1, instruction=False).introduction.instruction
    alone = stream(env_id, days=1, instruction=True)
    assert alone.introduction.instruction
    assert not alone.introduction.exemplars
    assert alone.content_hash != stream(env_id, days=1).content_hash


@pytest.mark.parametrize("split", squad._FOLDERS)
def test_passages_of_another_file(split, data_dir):
    settings = {"split": split, "days": 2, "passages_per_day": 2}
    shown = stream("sleepgym/SQuAD-v0", data_dir, **settings, shots=1).introduction.exemplars
    bare = stream("sleepgym/SQuAD-v0", data_dir, **settings)
    titles = {document.title for day in bare.days for document in day.documents}
    assert shown[0].documents[0].title not in titles
    assert all(answer in shown[0].documents[0].text for answer in shown[0].answers)


def test_too_many_are_refused(data_dir, monkeypatch):
    with pytest.raises(BadSetting, match="shots=33"):
        stream("sleepgym/SQuAD-v0", data_dir, days=1, shots=33)
    monkeypatch.setattr(squad, "_SHOT_CHARACTERS", 0)
    with pytest.raises(BadSetting, match="shots=2 of SQuAD: there are 0"):
        stream("sleepgym/SQuAD-v0", data_dir, days=1, shots=2)


def test_exemplars_of_long_documents_are_short_parts_with_the_answers(data_dir):
    for shown in stream("sleepgym/LongDocs-v0", shots=3).introduction.exemplars:
        text = " ".join(document.text for document in shown.documents)
        assert len(text) < 1600
        assert all(answer in text for answer in shown.answers)
    with pytest.raises(BadSetting, match="0 of the 10 documents of qasper"):
        stream("sleepgym/LongDocs-v0", data_dir, dataset="qasper", days=2, shots=1)


@pytest.mark.parametrize(("metric", "score"), [("exact", 0.0), ("f1", 0.5), ("contained", 1.0)])
def test_metrics_of_free_text(metric, score):
    family = AlmanacV1(AlmanacV1.Config(metric=metric))
    assert family.score("He lives in Oslo", "Oslo") == pytest.approx(score, abs=0.1)
    family = make_env("sleepgym/SQuAD-v0", metric=metric).family
    assert family.score("He lives in Oslo", "Oslo") == pytest.approx(score, abs=0.1)
    assert family.score("Oslo", "Oslo") == 1.0

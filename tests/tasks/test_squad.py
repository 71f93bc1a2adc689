"""SQuAD streams in both layouts, and the paper's protocols by explicit ids."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import data_files
import sleepgym
from sleepgym.core.errors import BadData, BadSetting
from sleepgym.core.types import Phase
from sleepgym_tasks.datasets.squad_files import parse
from sleepgym_tasks.envs.squad import (
    _FOLDERS,
    SQuAD,
    SQuADConfig,
    held_out_titles,
    question_ids,
    select,
)

ID = "sleepgym/SQuAD-v0"


def make(data, seed=0, **settings):
    return SQuAD(SQuADConfig(**settings), data=data).stream(seed)


def preset(data, name, seed=0, **settings):
    env = sleepgym.make_env(ID, preset=name, data=data, **settings)
    env.reset(seed=seed)
    return env.stream


@pytest.mark.parametrize("split", _FOLDERS)
def test_every_file_makes_a_stream(split, data_dir):
    stream = make(data_dir, split=split)
    assert [len(day.documents) for day in stream.days] == [5] * 10
    assert [len(day.exam) for day in stream.days] == [10] * 10
    assert all(not day.practice and not day.labels for day in stream.days)
    ids = [item.id for day in stream.days for item in day.exam]
    assert len(ids) == len(set(ids)) == len(stream.key)
    for day in stream.days:
        texts = {document.title: document.text for document in day.documents}
        for item in day.exam:
            prompt, _, question = item.question.text.partition("\n")
            title = prompt.removeprefix("Topic: ")
            assert title in texts
            assert question.endswith("?")
            assert all(gold in texts[title] for gold in stream.key[item.id])


def test_both_layouts_are_the_same_passages(data_dir):
    one = parse(data_dir / "squad_seal" / "squad_val.json")
    two = parse(data_dir / "squad" / "dev-v1.1.json")
    assert [p.context for p in one] == [p.context for p in two]
    assert [p.title for p in one] == [p.title for p in two]
    assert [q.id for p in one for q in p.questions] == [q.id for p in two for q in p.questions]
    for first, second in zip(one, two, strict=True):
        for single, several in zip(first.questions, second.questions, strict=True):
            assert len(single.answers) == 1
            assert len(several.answers) == 2
            assert single.answers[0] == several.answers[0]


@pytest.mark.parametrize("metric", ["f1", "exact"])
def test_gold_answers_score_one(metric, data_dir):
    env = sleepgym.make_env(ID, split="dev-v1.1", days=2, metric=metric, data=data_dir)
    env.reset(seed=1)
    for which in (0, -1):
        env.reset(seed=1)
        for step in env.steps:
            info = env.step([env.stream.key[item.id][which] for item in step.items])[4]
            assert not step.items or min(info["scores"]) == 1.0


def test_metrics_differ_on_part_of_the_answer():
    f1, exact = (SQuAD(SQuADConfig(metric=metric)) for metric in ("f1", "exact"))
    assert f1.score("Denver", "the Denver Broncos") == pytest.approx(2 / 3)
    assert exact.score("Denver", "the Denver Broncos") == 0.0
    assert exact.score("Denver Broncos!", "the Denver Broncos") == 1.0


def test_closed_book_exams_show_neither_documents_nor_answers(data_dir):
    env = sleepgym.make_env(ID, data=data_dir, preset="small")
    observation, _ = env.reset(seed=0)
    mornings = 0
    for step in env.steps:
        if step.phase is Phase.EXAM:
            assert observation["documents"] == observation["titles"] == ()
            assert observation["feedback"] == ()
            mornings += step.closed_book
            for text, item in zip(observation["questions"], step.items, strict=True):
                assert all(gold not in text for gold in env.stream.key[item.id])
                assert item.id not in str(observation)
        observation = env.step([""] * len(step.items))[0]
    assert mornings == 4


def test_the_stream_is_a_function_of_the_seed(data_dir):
    hashes = [make(data_dir, seed).content_hash for seed in (0, 0, 1, 2)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_questions_per_passage_draws_by_seed(data_dir):
    few = make(data_dir, questions_per_passage=1)
    assert [len(day.exam) for day in few.days] == [5] * 10
    assert [day.documents for day in few.days] == [day.documents for day in make(data_dir).days]


def test_file_order_lets_consecutive_seeds_cover_the_file(data_dir):
    settings = {"days": 1, "passages_per_day": 7, "order": "file"}
    titles = [
        document.title
        for seed in range(9)
        for day in make(data_dir, seed, **settings).days
        for document in day.documents
    ]
    names = [passage.title for passage in parse(data_dir / "squad_seal" / "base_val.json")]
    assert titles == (names + names)[:63]


def test_the_environment_checker_has_no_complaint(data_dir):
    env = gymnasium.make(ID, preset="small", data=data_dir, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)


def test_too_many_passages_are_refused(data_dir):
    with pytest.raises(BadSetting, match="needs 65 passages, and base_val has 60"):
        make(data_dir, days=13)


@pytest.mark.parametrize("name", ["single-passage", "cpt-200"])
def test_another_file_than_the_published_one_is_refused(name, data_dir):
    with pytest.raises(BadData, match=r"base_val\.json: 974 of the 974 questions"):
        preset(data_dir, name)


def test_select_keeps_the_order_named_and_the_questions_named(data_dir):
    path = data_dir / "squad_seal" / "squad_val.json"
    passages = parse(path)
    wanted = [[passages[9].questions[1].id], [q.id for q in passages[3].questions]]
    chosen = select(passages, wanted, path)
    assert [p.title for p in chosen] == [passages[9].title, passages[3].title]
    assert [[q.id for q in p.questions] for p in chosen] == wanted
    with pytest.raises(BadData, match=r"1 of the 4 questions named .*0123456789abcdef"):
        select(passages, [*wanted, ["0123456789abcdef"]], path)


def test_repeated_questions_have_different_ids(tmp_path):
    path = tmp_path / "file.json"
    one = data_files.passage(0)
    one["questions"] = [one["questions"][0]] * 3
    data_files.write_json(path, [one, one])
    ids = [asked.id for passage in parse(path) for asked in passage.questions]
    assert len(set(ids)) == 6


def test_the_list_of_ids_is_974_ids_of_200_passages():
    ids = question_ids("cpt_200.json")
    assert len(ids) == 200
    flat = [name for names in ids for name in names]
    assert len(flat) == len(set(flat)) == 974
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in flat)


# -- the original files -------------------------------------------------------------------------


def counts(path: Path) -> tuple[int, int]:
    passages = parse(path)
    return len(passages), sum(len(passage.questions) for passage in passages)


def test_original_files_have_the_published_sizes(real_data):
    assert counts(real_data / "squad_seal" / "base_val.json") == (200, 974)
    assert counts(real_data / "squad_seal" / "iter0_train.json") == (100, 467)
    assert counts(real_data / "squad_seal" / "squad_val.json") == (2067, 10570)
    assert counts(real_data / "squad_xquad_en" / "xquad.en.json") == (240, 1190)


def test_cpt_200_is_the_974_questions_from_either_file(real_data):
    one = preset(real_data, "cpt-200")
    two = preset(real_data, "cpt-200", split="squad_val")
    for stream in (one, two):
        assert len(stream.days) == 1
        assert len(stream.days[0].documents) == 200
        assert len(stream.days[0].exam) == 974
    assert one.days[0].documents == two.days[0].documents
    assert [i.question for i in one.days[0].exam] == [i.question for i in two.days[0].exam]
    assert sorted(one.key.values()) == sorted(two.key.values())


def test_squad_8_streams_only_articles_that_the_reader_never_met(real_data):
    stream = preset(real_data, "squad-8", 100)
    titles = {d.title for day in stream.days for d in day.documents}
    assert len(stream.days) == 8
    assert titles <= set(held_out_titles())
    assert len(titles) > 4
    every = preset(real_data, "squad-8", 100, articles="all")
    assert not {d.title for day in every.days for d in day.documents} <= set(held_out_titles())
    with pytest.raises(BadSetting, match=r"squad_val has 510 of these articles"):
        preset(real_data, "squad-8", days=128)


def test_single_passage_seeds_cover_the_200_passages(real_data):
    contexts = [passage.context for passage in parse(real_data / "squad_seal" / "base_val.json")]
    for seed in (0, 1, 57, 199, 200):
        (day,) = preset(real_data, "single-passage", seed).days
        assert [document.text for document in day.documents] == [contexts[seed % 200]]


def test_every_gold_answer_of_the_original_files_scores_one(real_data):
    for split in ("squad_val", "xquad.en"):
        for metric in ("f1", "exact"):
            family = SQuAD(SQuADConfig(split=split, metric=metric))
            for passage in parse(real_data / _FOLDERS[split] / f"{split}.json"):
                for asked in passage.questions:
                    assert all(family.score(gold, gold) == 1.0 for gold in asked.answers)

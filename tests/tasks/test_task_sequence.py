"""Sequences of classification tasks in O-LoRA's layout."""

from __future__ import annotations

from collections import Counter

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData, UnknownName
from sleepgym_tasks.datasets.olora import load
from sleepgym_tasks.envs.task_sequence import TaskSequence

ID = "sleepgym/TaskSequence-v0"


def test_a_day_is_a_task_with_its_own_labels(data_dir):
    env, stream = family_checks.make(ID, data_dir)
    assert [day.exam[0].kind for day in stream.days] == ["dbpedia", "boolqa", "copa", "mnli"]
    assert [len(day.exam) for day in stream.days] == [40] * 4
    assert [len(day.practice[0]) for day in stream.days] == [80, 40, 40, 60]
    for day in stream.days:
        (choices,) = {item.question.choices for item in (*day.practice[0], *day.exam)}
        counts = Counter(stream.key[item.id][0] for item in day.exam)
        assert set(counts) == set(choices)
        assert max(counts.values()) - min(counts.values()) <= 1
        shown = {item.question.text for item in day.practice[0]}
        assert not shown & {item.question.text for item in day.exam}
    assert stream.days[3].exam[0].question.text.startswith("What is the logical relationship")
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_any_order_and_any_folder(data_dir, tmp_path):
    settings = {"tasks": ("NLI/MNLI", "copa"), "prompt": False}
    stream = family_checks.make(ID, data_dir, **settings)[1]
    assert [day.exam[0].kind for day in stream.days] == ["NLI/MNLI", "copa"]
    assert all(item.question.text.startswith("passage") for item in stream.days[0].exam)
    orders = {
        tuple(
            day.exam[0].kind
            for day in family_checks.make(ID, data_dir, seed, order="shuffled")[1].days
        )
        for seed in range(8)
    }
    assert len(orders) > 3


def test_records_without_a_label_are_skipped_and_a_missing_train_part_is_split(data_dir):
    mnli = load("mnli", data_dir)
    assert sum(len(rows) for rows in mnli.test.values()) == 60
    dbpedia = load("dbpedia", data_dir)
    assert {len(rows) for rows in dbpedia.train.values()} == {16}
    assert {len(rows) for rows in dbpedia.test.values()} == {4}


def test_the_orders_of_the_source_name_its_fifteen_tasks():
    assert len(TaskSequence.presets["order-1"]["tasks"]) == 4
    long = [TaskSequence.presets[f"order-{n}"]["tasks"] for n in (4, 5, 6)]
    assert all(len(set(tasks)) == 15 for tasks in long)
    assert len({frozenset(tasks) for tasks in long}) == 1


def test_bad_settings_are_refused(data_dir):
    family_checks.settings_refused(ID, BadSetting, "names a task twice", tasks=("copa", "COPA"))
    family_checks.settings_refused(ID, BadSetting, "tasks is empty", tasks=())
    family_checks.settings_refused(
        ID, UnknownName, "did you mean dbpedia", data_dir, tasks=("dbpedi",)
    )
    family_checks.settings_refused(
        ID,
        MissingData,
        "no olora_cl_benchmark/CL_Benchmark/WiC/WiC/labels",
        data_dir,
        tasks=("wic",),
    )


@pytest.mark.parametrize(
    ("labels", "test", "words"),
    [
        (["a", "a"], [], r"labels\.json: 2 labels, 1 of them different"),
        (["a", " b"], [], r"labels\.json, \[1\]: the label ' b' has white space"),
        (["a", "b"], [{"label": "c", "sentence": "x"}], r"test\.json, \[0\]: the label 'c' is not"),
        (["a", "b"], [{"label": "a", "sentence": "x"}], r"test\.json: no example of the label 'b'"),
        (["a", "b"], [{"label": "a"}], r"test\.json, \[0\]: no 'sentence' in it"),
        (["a", "b"], [{"label": "a", "sentence": ""}], r"test\.json, \[0\]: the sentence is empty"),
        (["a", "b"], {"Instances": []}, r"test\.json: it is not a list"),
        (
            ["a", "b"],
            [{"label": "a", "sentence": "x"}, {"label": "b", "sentence": "y"}],
            r"test\.json: under 5 records of 'a', and no train\.json",
        ),
    ],
)
def test_bad_files_are_named(labels, test, words, tmp_path):
    folder = tmp_path / "olora_cl_benchmark" / "CL_Benchmark" / "X" / "Y"
    data_files.write_json(folder / "labels.json", labels)
    data_files.write_json(folder / "test.json", test)
    family_checks.settings_refused(ID, BadData, words, tmp_path, tasks=("X/Y",))


# -- the original files -------------------------------------------------------------------------


def test_original_files_have_the_published_sizes(real_data):
    sizes = {"dbpedia": 7600, "boolqa": 3270, "copa": 100, "mnli": 7600 - 131}
    for name, size in sizes.items():
        task = load(name, real_data)
        rows = sum(len(own) for own in task.test.values())
        rows += sum(len(own) for own in task.train.values()) if name == "dbpedia" else 0
        assert rows == size
    env, stream = family_checks.make(ID, real_data)
    assert [len(day.exam) for day in stream.days] == [40] * 4
    family_checks.gold_scores_one(env)

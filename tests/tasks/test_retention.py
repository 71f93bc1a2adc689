"""Retention: the harness's tasks from a folder on disk, asked every few nights."""

from __future__ import annotations

import json

import pytest

import family_checks
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.core.schedule import schedule

ID = "sleepgym/Retention-v0"
CAPITALS = [("Norland", "Ostby", "Sund"), ("Sudland", "Palm", "Reef"), ("Vestland", "Cliff", "Bay")]
CHOICE = """
task: own_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Capital of {{{{land}}}}:"
doc_to_choice: "{{{{[right, wrong]}}}}"
doc_to_target: 0
"""
FREE = """
task: own_free
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
fewshot_split: test
output_type: generate_until
doc_to_text: "Q: capital of {{{{land}}}}? A:"
doc_to_target: "{{{{right}}}}"
generation_kwargs: {{until: ["."]}}
filter_list:
  - name: last
    filter:
      - function: regex
        regex_pattern: "is (\\\\w+)"
      - function: take_first
metric_list:
  - metric: exact_match
    ignore_case: true
"""
ROLLING = """
task: own_rolling
dataset_path: json
dataset_kwargs: {{data_files: {{test: {path}}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{land}}}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("lm_eval")
    data = tmp_path_factory.mktemp("data")
    (data / "lm_eval").mkdir()
    rows = [dict(zip(("land", "right", "wrong"), row, strict=True)) for row in CAPITALS]
    path = data / "lm_eval" / "capitals.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("choice", CHOICE), ("free", FREE), ("rolling", ROLLING)):
        (data / "lm_eval" / f"{name}.yaml").write_text(text.format(path=path))
    broken = CHOICE.format(path=data / "nothing.jsonl").replace("own_choice", "own_broken")
    (data / "lm_eval" / "broken.yaml").write_text(broken)
    row = {
        "key": 1,
        "prompt": "Say something without a comma.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{"num_words": None}],
    }
    path = data / "lm_eval" / "rules.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (data / "lm_eval" / "utils.py").write_text(
        "from lm_eval.tasks.ifeval.utils import process_results\n"
    )
    (data / "lm_eval" / "rules.yaml").write_text(
        f"task: own_rules\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {path}}}}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: prompt\ndoc_to_target: 0\n"
        "process_results: !function utils.process_results\nmetric_list:\n"
        "  - metric: prompt_level_strict_acc\n    aggregation: mean\n    higher_is_better: true\n"
    )
    return data


def test_without_tasks_the_base_world_is_asked_every_few_nights():
    env, stream = family_checks.make(ID, days=5, every=2, base_questions=7)
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)
    asked = [
        step.night
        for step in schedule(stream)
        if step.closed_book and any(item.day == 0 and item.kind == "base" for item in step.items)
    ]
    assert asked == [0, 2, 4, 5]


def test_tasks_on_disk_are_asked_and_graded_by_the_harness(folder):
    tasks = ("own_choice", "own_free")
    env, stream = family_checks.make(ID, folder, tasks=tasks, days=3, questions_per_task=2)
    family_checks.gold_scores_one(env)
    items = {item.id: item for item in stream.base}
    assert sum(item.kind == "own_choice" for item in items.values()) == 2
    assert sum(item.kind == "own_free" for item in items.values()) == 2
    for item in items.values():
        land = next((row for row in CAPITALS if row[0] in item.question.text), None)
        if item.kind == "own_choice":
            assert item.question.choices == land[1:]
            assert stream.key[item.id] == (land[1],)
        elif item.kind == "own_free":
            (token,) = stream.key[item.id]
            assert env.family.score_item(item.id, f"it is {land[1].upper()}, sir", token) == 1.0
            assert env.family.score_item(item.id, f"it is {land[2]}", token) == 0.0
            assert env.family.score_item(item.id, "", token) == 0.0


def test_examples_come_before_the_question(folder):
    _, plain = family_checks.make(ID, folder, tasks=("own_free",), days=1)
    _, shown = family_checks.make(ID, folder, tasks=("own_free",), days=1, shots=2)
    counts = [
        {item.question.text.count("Q:") for item in stream.base if item.kind == "own_free"}
        for stream in (plain, shown)
    ]
    assert counts == [{1}, {3}]


def test_instructions_are_checked_as_ifeval_checks_them(folder):
    pytest.importorskip("langdetect")
    pytest.importorskip("immutabledict")
    env, stream = family_checks.make(ID, folder, tasks=("own_rules",), base_questions=0, days=1)
    (item,) = stream.base
    (token,) = stream.key[item.id]
    assert env.family.score_item(item.id, "Nothing to see here.", token) == 1.0
    assert env.family.score_item(item.id, "Well, nothing.", token) == 0.0


def test_what_cannot_be_asked_is_one_line(folder, monkeypatch):
    refused = family_checks.settings_refused
    refused(ID, BadSetting, "has one of this name", folder, tasks=("no_such_task",))
    refused(ID, BadSetting, "is loglikelihood_rolling: name one", folder, tasks=("own_rolling",))
    refused(ID, MissingData, "task 'own_broken' cannot be loaded", folder, tasks=("own_broken",))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(ID, MissingData, "task 'ifeval' cannot be loaded", folder, tasks=("ifeval",))


def test_a_task_named_twice_is_refused():
    family_checks.settings_refused(ID, BadSetting, "names a task twice", tasks=("a", "a"))

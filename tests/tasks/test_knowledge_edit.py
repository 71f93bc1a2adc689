"""Sequential edits: the layouts of EasyEdit, the invented twin, and edits that go together."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.datasets.edits import parse
from sleepgym_tasks.envs.knowledge_edit import compatible
from sleepgym_tasks.worlds.world import base_world

ID = "sleepgym/KnowledgeEdit-v0"
DATASETS = ("invented", "counterfact", "counterfact-val", "zsre")


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_edit_is_asked_about_and_leaks_nothing(dataset, data_dir):
    env, stream = family_checks.make(ID, data_dir, dataset=dataset, edits_per_day=1)
    assert [len(day.documents) for day in stream.days] == [1] * 8
    for day in stream.days:
        (document,) = day.documents
        kinds = Counter(item.kind for item in day.exam)
        assert kinds["reliability"] == kinds["generalisation"] == 1
        assert kinds["portability"] == (dataset in ("invented", "zsre"))
        new = stream.key[day.exam[0].id]
        assert all(stream.key[item.id] == new for item in day.exam if item.kind != "portability")
        assert new[0] in document.text
    assert [item.kind for item in stream.base] == ["locality"] * 8
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_the_twin_changes_the_base_world_and_keeps_the_rest():
    facts = base_world().facts
    _, stream = family_checks.make(ID, days=100)
    edited = set()
    for day in stream.days:
        subject, attribute = day.exam[0].id.split("/")[1:3]
        assert facts[subject][attribute] != stream.key[day.exam[0].id][0]
        edited.add((subject, attribute))
    assert len(edited) == 100
    texts = [item.question.text for day in stream.days for item in day.exam]
    texts += [item.question.text for item in stream.base]
    assert len(texts) == len(set(texts)) == 400


def test_the_three_layouts_are_told_apart(data_dir):
    counterfact = parse(data_dir / "counterfact" / "counterfact-edit.json")
    mend = parse(data_dir / "zsre" / "zsre_mend_eval.json")
    knowedit = parse(data_dir / "zsre" / "ZsRE-test-all.json")
    assert (len(counterfact), len(mend), len(knowedit)) == (30, 29, 30)
    e = data_files.edit(3)
    assert counterfact[3].statement == f"The capital of {e['who']} is {e['new']}."
    assert mend[3].statement == f"What is the capital of {e['who']}? {e['new']}"
    assert mend[3].locality[0].text == f"where is {e['other'].lower()}?"
    assert mend[3].portability[0].answers == (data_files.word(1603),)
    assert knowedit[3].locality[0].answers == (e["kept"], "x")
    assert knowedit[3].portability[0].answers == ("ru",)
    assert {edit.subject for edit in mend} < {edit.subject for edit in knowedit}


def test_any_published_name_of_zsre_is_found(data_dir, tmp_path):
    text = (data_dir / "zsre" / "ZsRE-test-all.json").read_text()
    (tmp_path / "zsre").mkdir()
    with pytest.raises(MissingData, match=r"put zsre/zsre_mend_eval\.json or"):
        family_checks.make(ID, tmp_path, dataset="zsre")
    (tmp_path / "zsre" / "other.json").write_text(text)
    assert family_checks.make(ID, tmp_path, dataset="zsre")[1].days


def test_edits_that_contradict_are_left_out(data_dir):
    one, two, three = parse(data_dir / "counterfact" / "counterfact-edit.json")[:3]
    again = two._replace(reliability=one.reliability)
    clash = three._replace(locality=(one.reliability._replace(answers=("x",)),))
    assert compatible([one, again, two, clash, three], 9) == [one, two, three]


def test_too_many_edits_are_refused(data_dir):
    match = "needs 31 edits, and counterfact has 30"
    family_checks.settings_refused(ID, BadSetting, match, data_dir, dataset="counterfact", days=31)
    family_checks.settings_refused(ID, BadSetting, "nothing is asked", kinds=("locality",))


RECORD = {
    "case_id": 0,
    "prompt": "The capital of A is",
    "target_new": "B",
    "subject": "A",
    "ground_truth": "C",
    "rephrase_prompt": "A is ruled from",
    "locality_prompt": "D is",
    "locality_ground_truth": "E",
}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([RECORD, {**RECORD, "prompt": "x"}], r"\[1\]: case_id 0 occurs before, in \[0\]"),
        ([{**RECORD, "target_new": ""}], r"\[0\]: target_new is empty"),
        ([{k: v for k, v in RECORD.items() if k != "subject"}], r"\[0\]: no 'subject'"),
        ([{**RECORD, "locality_ground_truth": []}], r"\[0\]: locality_ground_truth holds no"),
        ([{**RECORD, "rephrase_prompt": 3}], r"\[0\]: rephrase_prompt is 3"),
        ([[1]], r"\[0\]: not an object"),
        ([{"case_id": 1, "requested_rewrite": {}}], r"\[0\]: ROME's own layout"),
        ([], "not a list with something in it"),
        ({"data": []}, "not a list with something in it"),
        ([{"src": "q", "alt": ""}], "every record has an empty 'alt'"),
        (
            [{"subject": "a", "src": "q", "rephrase": "r", "alt": "b", "loc": "x", "loc_ans": "y"}],
            r"\[0\]: loc 'x' does not begin with 'nq question: '",
        ),
        (
            [{"subject": "a", "prompt": "q", "target_new": "b", "locality": [1]}],
            r"\[0\]: locality is \[1\], not an object of lists",
        ),
    ],
)
def test_bad_records_are_named(content, words, tmp_path):
    path = tmp_path / "file.json"
    data_files.write_json(path, content)
    with pytest.raises(BadData, match=rf"file\.json.*{words}"):
        parse(path)


def test_truncated_json_is_named(tmp_path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps([RECORD])[:-20])
    with pytest.raises(BadData, match="not JSON"):
        parse(path)


# -- the original files -------------------------------------------------------------------------


def test_counterfact_has_its_published_size_and_streams(real_data):
    edits = parse(real_data / "counterfact" / "counterfact-edit.json")
    assert len(edits) == 10_000
    assert len(parse(real_data / "counterfact" / "counterfact-val.json")) == 1_919
    env, stream = family_checks.make(ID, real_data, preset="counterfact-1000")
    assert sum(len(day.documents) for day in stream.days) == 1000
    assert sum(len(day.exam) for day in stream.days) == 2000
    family_checks.gold_scores_one(env)

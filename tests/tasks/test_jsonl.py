"""One's own data: what is loaded, and the one line that each bad record gets."""

from __future__ import annotations

import json

import pytest
import typer

import data_files
import family_checks
import sleepgym
from checkout import ROOT
from sleepgym.contract.tasks import seeds_matter
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.cli import add_commands
from sleepgym_tasks.datasets.own_files import problems

ID = "sleepgym/Jsonl-v0"
DOCUMENT = {"day": 1, "title": "T", "text": "The river ends at Bada."}
QUESTION = {"day": 1, "question": "Where?", "answers": ["Bada"]}


def write(folder, documents=(DOCUMENT,), questions=(QUESTION,)):
    data_files.write_jsonl(folder / "documents.jsonl", list(documents))
    data_files.write_jsonl(folder / "questions.jsonl", list(questions))
    return folder


def check(*arguments):
    """Exit code of ``sleepgym data check``."""
    app = typer.Typer()
    add_commands(app)
    return app(["data", "check", *map(str, arguments)], standalone_mode=False)


def test_files_become_days(data_dir):
    env, stream = family_checks.make(ID, data_dir)
    assert [len(day.documents) for day in stream.days] == [1, 1, 1]
    assert [len(day.exam) for day in stream.days] == [3, 3, 3]
    assert [len(day.practice[0]) for day in stream.days] == [1, 1, 1]
    assert [item.kind for item in stream.base] == ["base"]
    assert sorted({item.kind for item in stream.days[0].exam}) == ["direct", "paraphrase"]
    assert env.stream.key[stream.days[0].practice[0][0].id]
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_seeds_may_meet_where_there_are_few_questions():
    env = sleepgym.make_env(ID, data=ROOT / "docs" / "tasks" / "example")
    assert len({env.family.stream(seed).content_hash for seed in (1, 2, 3)}) == 2
    assert seeds_matter(env.family) is None


@pytest.mark.parametrize("count", [1, 2, 4])
def test_streams_of_few_questions_keep_the_rule_of_seeds(tmp_path, count):
    write(tmp_path, questions=[{**QUESTION, "question": f"Which? {n}"} for n in range(count)])
    assert seeds_matter(sleepgym.make_env(ID, data=tmp_path).family) is None


def test_a_folder_of_text_files_is_read_by_number_or_by_name(tmp_path):
    data_files.write_jsonl(tmp_path / "questions.jsonl", [QUESTION, {**QUESTION, "day": 2}])
    (tmp_path / "alpha.md").write_text("first")
    (tmp_path / "beta_two.txt").write_text("second")
    stream = family_checks.make(ID, tmp_path)[1]
    assert [(d.title, d.text) for day in stream.days for d in day.documents] == [
        ("alpha", "first"),
        ("beta two", "second"),
    ]
    (tmp_path / "alpha.md").rename(tmp_path / "2-alpha.md")
    (tmp_path / "beta_two.txt").rename(tmp_path / "01-beta.txt")
    stream = family_checks.make(ID, tmp_path)[1]
    assert [d.title for day in stream.days for d in day.documents] == ["beta", "alpha"]


def test_questions_per_day_and_days_limit(data_dir):
    stream = family_checks.make(ID, data_dir, days=2, questions_per_day=1)[1]
    assert [len(day.exam) for day in stream.days] == [1, 1]
    family_checks.settings_refused(ID, BadSetting, "holds 3 days", data_dir, days=4)


def test_order_of_the_file_is_kept_where_asked(data_dir):
    kept = family_checks.make(ID, data_dir, order="file")[1]
    assert [item.id for item in kept.days[1].exam] == ["line 5", "line 6", "line 7"]


@pytest.mark.parametrize("metric", ["exact", "f1", "contained", "literal", "chrf"])
def test_answers_of_punctuation_are_not_met_by_silence(metric, tmp_path):
    write(tmp_path, questions=[{**QUESTION, "answers": ["("]}])
    env, _ = family_checks.make(ID, tmp_path, metric=metric)
    family_checks.gold_scores_one(env)
    assert env.family.score(")", "(") < 1.0


def test_choices_that_are_graded_alike_are_refused(tmp_path):
    choices = {**QUESTION, "answers": ["The cat"], "choices": ["The cat", "cat"]}
    write(tmp_path, questions=[choices])
    family_checks.settings_refused(ID, BadData, "line 1: the choice 'cat'", tmp_path)
    family_checks.make(ID, tmp_path, metric="literal")


BAD_QUESTIONS = [
    ({"day": "1"}, "day is '1'"),
    ({"day": True}, "day is True"),
    ({"day": -1}, "day is -1"),
    ({"day": None}, "day is missing"),
    ({"question": " "}, "question is empty"),
    ({"question": "\ud800"}, "half a character"),
    ({"answers": []}, "answers is"),
    ({"answers": ["a", "a"]}, "answers holds a text twice"),
    ({"answers": [3]}, "one of answers is 3"),
    ({"answers": "Bada "}, "white space at its ends"),
    ({"choices": ["Bada"]}, "choices holds one choice"),
    ({"choices": ["x", "y"]}, "'Bada' is not among choices"),
    ({"answers": ["x", "y"], "choices": ["x", "y"]}, "every choice is a right answer"),
    ({"practice": "yes"}, "practice is 'yes'"),
    ({"practice": True, "day": 0}, "practice needs a day of 1"),
    ({"until": 0}, "until is 0"),
    ({"kind": ""}, "kind is empty"),
    ({"anwsers": ["x"]}, "unknown field 'anwsers'"),
    ({"day": 3}, "day 3 is later than the last day, 1"),
]


@pytest.mark.parametrize(("change", "words"), BAD_QUESTIONS)
def test_a_bad_question_is_named(change, words, tmp_path):
    bad = {k: v for k, v in {**QUESTION, **change}.items() if v is not None}
    write(tmp_path, questions=[{**QUESTION, "question": "Good?"}])
    with (tmp_path / "questions.jsonl").open("a") as file:
        file.write(json.dumps(bad) + "\n")
    (found,) = problems(tmp_path)
    assert found.startswith(f"{tmp_path}/questions.jsonl, line 2: ")
    assert words in found
    with pytest.raises(BadData, match="line 2"):
        family_checks.make(ID, tmp_path)


SHOWN = {"title": "T", "text": "The road ends at Fine.", "questions": [["Whither?", "Fine"]]}
BAD_EXEMPLARS = [
    ({"questions": []}, "questions is not a list of [question, answer] pairs"),
    ({"questions": [["Whither?"]]}, "is no [question, answer] pair"),
    ({"questions": [["Whither?", 3]]}, "one of questions is 3"),
    ({"questions": [["Where?", "Fine"]]}, "'Where?' is asked too"),
    ({"text": DOCUMENT["text"]}, "its text is read too"),
    ({"text": ""}, "text is empty"),
    ({"day": 1}, "unknown field 'day'"),
]


@pytest.mark.parametrize(("change", "words"), BAD_EXEMPLARS)
def test_a_bad_exemplar_is_named(change, words, tmp_path):
    write(tmp_path)
    data_files.write_jsonl(tmp_path / "exemplars.jsonl", [SHOWN, {**SHOWN, **change}])
    (found,) = problems(tmp_path)
    assert found.startswith(f"{tmp_path}/exemplars.jsonl, line 2: ")
    assert words in found


def test_too_few_exemplars_are_refused(tmp_path):
    write(tmp_path)
    family_checks.settings_refused(ID, BadSetting, "exemplars.jsonl holds 0", tmp_path, shots=1)
    data_files.write_jsonl(tmp_path / "exemplars.jsonl", [SHOWN])
    (shown,) = family_checks.make(ID, tmp_path, shots=1)[1].introduction.exemplars
    assert (shown.documents[0].text, shown.answers) == (SHOWN["text"], ("Fine",))
    assert problems(tmp_path / "exemplars.jsonl") == []


BAD_FILES = [
    (b'{"day": 1, "question": "W', "line 1: not JSON"),
    (b"[1]", "line 1: not an object"),
    (b'{"day": 1, "day": 2}', "line 1: a field occurs twice"),
    (b"\xef\xbb\xbf{}", "byte-order mark"),
    (b"\xff\xfe{}", "not UTF-8 at byte 0"),
    (b"\n \n", "it is empty"),
    (b"[" * 100_000, "line 1: not JSON"),
]


@pytest.mark.parametrize(("content", "words"), BAD_FILES)
@pytest.mark.parametrize("name", ["questions.jsonl", "documents.jsonl"])
def test_a_bad_file_is_named(name, content, words, tmp_path):
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    (found,) = problems(tmp_path)
    assert f"{tmp_path}/{name}" in found
    assert words in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("documents", "questions", "words"),
    [
        ([DOCUMENT, {**DOCUMENT, "day": 2}], [QUESTION], "day 2 has no question for its exam"),
        ([DOCUMENT, {**DOCUMENT, "day": 3}], [QUESTION, {**QUESTION, "day": 3}], "day 2 is miss"),
        (  # as fast as a small gap, in as little memory
            [DOCUMENT, {**DOCUMENT, "day": 10**30}],
            [QUESTION, {**QUESTION, "day": 10**30}],
            "day 2 is missing",
        ),
        ([DOCUMENT], [{**QUESTION, "id": "a"}, {**QUESTION, "id": "a", "question": "b"}], "id 'a'"),
        ([DOCUMENT], [QUESTION, QUESTION], "the same question of the same day occurs before"),
        ([DOCUMENT, DOCUMENT], [QUESTION], "the same text occurs before, on line 1"),
        ([{**DOCUMENT, "day": 0}], [QUESTION], "day is 0, not a whole number from 1 on"),
    ],
)
def test_days_and_ids_that_do_not_fit_are_named(documents, questions, words, tmp_path):
    write(tmp_path, documents, questions)
    (found,) = problems(tmp_path)
    assert words in found
    assert f"{tmp_path}" in found


def test_questions_alone_teach_nothing(tmp_path):
    data_files.write_jsonl(tmp_path / "questions.jsonl", [{**QUESTION, "day": 0}])
    assert "there is nothing to learn" in problems(tmp_path)[0]
    practice = [{**QUESTION, "practice": True}, {**QUESTION, "question": "And where?"}]
    data_files.write_jsonl(tmp_path / "questions.jsonl", practice)
    assert len(family_checks.make(ID, tmp_path)[1].days) == 1


def test_a_mixture_of_numbered_and_other_names_is_refused(tmp_path):
    data_files.write_jsonl(tmp_path / "questions.jsonl", [QUESTION])
    (tmp_path / "1-a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("y")
    assert "b.txt: its name does not begin with its day" in problems(tmp_path)[0]


def test_every_bad_record_is_told_and_nothing_is_loaded(tmp_path, capsys):
    bad = [{**QUESTION, "day": "x"}, QUESTION, {**QUESTION, "answers": None}]
    write(tmp_path, questions=bad)
    assert check(tmp_path) == 1
    out = capsys.readouterr().out
    assert "line 1: day" in out
    assert "line 3: answers" in out
    assert "2 bad records" in out
    with pytest.raises(BadData, match=r"line 1.*and 1 more: sleepgym data check"):
        family_checks.make(ID, tmp_path)


def test_a_good_folder_and_a_good_file_are_told_so(data_dir, capsys):
    assert check(data_dir) == 0
    assert "good: 3 days, 3 documents, 13 questions" in capsys.readouterr().out
    assert check(data_dir / "questions.jsonl") == 0
    assert check(data_dir / "documents.jsonl") == 0


def test_any_name_is_checked_by_what_it_holds(tmp_path):
    write(tmp_path)
    for name, other in (("documents", "notes"), ("questions", "exam")):
        text = (tmp_path / f"{name}.jsonl").read_text()
        (tmp_path / f"{other}.jsonl").write_text(text)
        assert problems(tmp_path / f"{other}.jsonl") == []
    write(tmp_path, questions=[QUESTION, {**QUESTION, "day": 9}])
    (found,) = problems(tmp_path / "questions.jsonl")
    assert "day 9 is later than the last day, 1" in found


def test_what_is_not_there_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(MissingData, match=r"no file or folder .*nothing"):
        check(tmp_path / "nothing")
    monkeypatch.delenv("SLEEPGYM_DATA", raising=False)
    with pytest.raises(MissingData, match="pass --data DIR"):
        family_checks.make(ID)
    with pytest.raises(BadData, match=r"no questions\.jsonl in it"):
        family_checks.make(ID, tmp_path)

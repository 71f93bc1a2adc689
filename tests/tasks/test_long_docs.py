"""Long documents: LongHealth's and QASPER's files, and invented chronicles."""

from __future__ import annotations

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.datasets.long_documents import parse_longhealth, parse_qasper

ID = "sleepgym/LongDocs-v0"


def test_the_twin_asks_one_fact_a_passage_with_five_choices():
    env, stream = family_checks.make(ID)
    assert [(len(day.documents), len(day.exam)) for day in stream.days] == [(12, 12)] * 4
    for day in stream.days:
        text = " ".join(document.text for document in day.documents)
        for item in day.exam:
            assert len(set(item.question.choices)) == 5
            (gold,) = stream.key[item.id]
            assert gold in item.question.choices
            assert gold in text
    places = [
        item.question.choices.index(stream.key[item.id][0]) for d in stream.days for item in d.exam
    ]
    assert len(set(places)) == 5
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_longhealth_is_a_patient_a_day_with_its_five_answers(data_dir):
    env, stream = family_checks.make(ID, data_dir, preset="longhealth")
    assert [(len(day.documents), len(day.exam)) for day in stream.days] == [(3, 4)] * 10
    for day in stream.days:
        who = day.documents[0].title
        for item in day.exam:
            assert item.question.text.startswith(f"{who}, born 01.02.19")
            (gold,) = stream.key[item.id]
            assert item.question.choices.index(gold) == 2
            wrong = item.question.choices[0]
            assert env.family.score(wrong, gold) == 0.0
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env)


def test_a_letter_names_the_right_answer_too(tmp_path):
    one = data_files.patient(0)
    for question, correct in zip(
        one["questions"], ("C", "c", "answer_c", one["questions"][3]["answer_c"]), strict=True
    ):
        question["correct"] = correct
    data_files.write_json(tmp_path / "file.json", {"p": one})
    (document,) = parse_longhealth(tmp_path / "file.json")
    assert all(asked.answers == (asked.choices[2],) for asked in document.questions)


def test_qasper_reads_answers_as_its_evaluation_does(data_dir):
    env, stream = family_checks.make(ID, data_dir, preset="qasper", days=12)
    day = stream.days[0]
    assert [document.title.partition(": ")[2] for document in day.documents] == [
        "Abstract",
        "Introduction",
        "Introduction",
    ]
    golds = {item.kind: stream.key[item.id] for item in day.exam}
    assert golds["unanswerable"] == ("Unanswerable", "BLEU, chrF")
    assert golds["extractive"] == ("BLEU, chrF", "No")
    assert golds["boolean"][0] == "No"
    assert golds["abstractive"][0].startswith("They train")
    assert env.family.score("chrF", "BLEU, chrF") == pytest.approx(2 / 3)
    family_checks.gold_scores_one(env)


def test_chunks_and_limits(data_dir):
    stream = family_checks.make(
        ID, data_dir, dataset="longhealth", chunk_tokens=16, questions_per_document=2
    )[1]
    whole = family_checks.make(ID, data_dir, dataset="longhealth")[1]
    for cut, day in zip(stream.days, whole.days, strict=True):
        assert len(cut.exam) == 2
        assert len(cut.documents) > len(day.documents)
        assert "".join(d.text for d in cut.documents).replace("\n", "") == "".join(
            d.text for d in day.documents
        ).replace("\n", "")
    family_checks.settings_refused(
        ID,
        BadSetting,
        "needs 20 documents, and longhealth has 12",
        data_dir,
        preset="longhealth-400",
    )


def test_missing_files_are_one_line(tmp_path, data_dir):
    family_checks.settings_refused(
        ID, MissingData, r"put longhealth/benchmark_v5\.json or", tmp_path, preset="longhealth"
    )
    family_checks.settings_refused(
        ID,
        MissingData,
        r"qasper-test-v0\.3\.json|no folder",
        tmp_path,
        preset="qasper",
        split="test",
    )


PATIENT = data_files.patient(0)
QUESTION = PATIENT["questions"][0]
SAME = {**QUESTION, **{f"answer_{letter}": "x" for letter in "abcde"}, "correct": "x"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([PATIENT], "not an object of documents by id"),
        ({"p": {**PATIENT, "texts": {}}}, "p: texts is not an object of texts"),
        ({"p": {**PATIENT, "texts": {"t": ""}}}, r"p\.texts\.t: it is empty"),
        ({"p": {**PATIENT, "questions": []}}, "p: questions is not a list with something in it"),
        (
            {"p": {**PATIENT, "questions": [{**QUESTION, "correct": "z"}]}},
            r"p\.questions\[0\]: correct 'z' is none of its answers",
        ),
        (
            {"p": {**PATIENT, "questions": [SAME]}},
            r"p\.questions\[0\]: its five answers are the same",
        ),
        (
            {"p": {**PATIENT, "questions": [{"question": "q", "correct": "a"}]}},
            r"p\.questions\[0\]: no 'answer_a' in it",
        ),
    ],
)
def test_bad_patients_are_named(content, words, tmp_path):
    data_files.write_json(tmp_path / "file.json", content)
    with pytest.raises(BadData, match=rf"file\.json.*{words}"):
        parse_longhealth(tmp_path / "file.json")


PAPER = data_files.paper(0)
NOTHING = {"unanswerable": False, "extractive_spans": [], "yes_no": None, "free_form_answer": ""}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"p": {**PAPER, "full_text": {"section_name": []}}}, "p: full_text is not a list"),
        ({"p": {**PAPER, "qas": {"question": []}}}, "p: qas is not a list"),
        ({"p": {**PAPER, "abstract": "", "full_text": []}}, "p: neither the abstract nor"),
        (
            {"p": {**PAPER, "full_text": [{"section_name": "x", "paragraphs": "y"}]}},
            r"p\.full_text\[0\]: paragraphs is not a list of texts",
        ),
        (
            {"p": {**PAPER, "qas": [{"question": "q", "answers": []}]}},
            r"p\.qas\[0\]: answers is not a list with something in it",
        ),
        (
            {"p": {**PAPER, "qas": [{"question": "q", "answers": [{"answer": NOTHING}]}]}},
            r"p\.qas\[0\]\.answers\[0\]: none of unanswerable, extractive_spans",
        ),
    ],
)
def test_bad_papers_are_named(content, words, tmp_path):
    data_files.write_json(tmp_path / "file.json", content)
    with pytest.raises(BadData, match=rf"file\.json.*{words}"):
        parse_qasper(tmp_path / "file.json")

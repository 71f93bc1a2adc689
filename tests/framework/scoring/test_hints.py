"""Hints: a model that answers nothing, or reads nothing, is told at once."""

import json

import pytest

from sleepgym.runs.records import read_run
from sleepgym.scoring.hints import hints
from synthetic import write_run


def changed(path, agent="in-context", model="embedded", **line):
    write_run(path, agent=agent)
    meta = json.loads((path / "run.json").read_text())
    meta["spec"]["model"] = model
    (path / "run.json").write_text(json.dumps(meta))
    record = read_run(path)
    record.answers[:] = [{**answer, **line} for answer in record.answers] * 3
    return record


def test_a_run_that_reads_and_answers_gets_none(tmp_path):
    assert hints(changed(tmp_path / "run")) == []


def test_mostly_empty_answers_are_told_first(tmp_path):
    (hint,) = hints(changed(tmp_path / "run", answer=" ", score=0.0))
    assert hint.startswith("100% of the evening answers are empty")
    assert "prompt.json" in hint


def test_an_evening_near_zero_names_what_to_try(tmp_path):
    (hint,) = hints(changed(tmp_path / "run", score=0.01))
    assert hint.startswith("evening accuracy is 0.01")
    assert "--model" in hint


@pytest.mark.parametrize("change", [{"model": None}, {"agent": "frozen"}])
def test_what_proves_nothing_says_nothing(tmp_path, change):
    assert hints(changed(tmp_path / "run", score=0.0, **change)) == []


def test_four_evening_answers_are_enough_and_three_are_not(tmp_path):
    record = changed(tmp_path / "run", score=0.0)
    record.answers[:] = [line for line in record.answers if line["phase"] == "evening"][:4]
    assert len(hints(record)) == 1
    del record.answers[3]
    assert hints(record) == []

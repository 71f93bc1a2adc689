"""samples.jsonl: what was asked and what was right, beside the record and never part of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.types import Document, Experience, Question, question_hash
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.samples import FILE, context_digest, read_samples
from sleepgym.runs.spec import RunSpec

SPEC = RunSpec("toy:Toy", "toy:Notes", {"days": 3}, seed=9)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return run(SPEC, tmp_path_factory.mktemp("run"))


def read(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_every_answer_has_its_question_and_the_right_answers(record):
    lines = read(record.path)
    assert [(s["step"], s["id"]) for s in lines] == [(a["step"], a["id"]) for a in record.answers]
    for sample, answer in zip(lines, record.answers, strict=True):
        question = Question(sample["question"], tuple(sample["choices"]))
        assert question_hash(question) == answer["prompt"]
        assert (answer["answer"] in sample["gold"]) == (answer["score"] == 1)
    assert any(sample["gold"] == ["warm"] and sample["choices"] for sample in lines)


def test_the_context_is_what_the_day_has_told_so_far(record):
    steps = {phase["step"]: phase for phase in record.phases}
    contexts = {}
    for sample in read(record.path):
        phase = steps[sample["step"]]
        contexts.setdefault((phase["phase"], phase["day"]), set()).add(sample["context"])
    assert all(len(found) == 1 for found in contexts.values())
    assert all(found == {None} for (phase, _), found in contexts.items() if phase == "morning")
    taught = [next(iter(found)) for (phase, _), found in contexts.items() if phase != "morning"]
    assert len(set(taught)) == len(taught) == 6  # practice and evening of three days
    assert None not in taught


def test_documents_that_are_made_on_demand_have_the_digest_of_those_that_are_held():
    documents = (Document("one", "1"), Document("tw\u00f6"))
    practice = Experience(questions=(Question("Q?", ("a", "b")),), answers=("a",))
    held = [asdict(Experience(documents)), asdict(practice)]
    digest = hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]
    for shown in (documents, LazySequence(lambda: iter(documents))):
        assert context_digest([Experience(shown), practice]) == digest


@pytest.mark.parametrize("damage", ["", "torn line", '{"step": 99}\n', "[]\n"])
def test_a_run_that_goes_on_leaves_the_same_samples(record, damage, tmp_path):
    run(SPEC, tmp_path, nights=1)
    with open(tmp_path / FILE, "a") as file:
        file.write(damage)
    assert run(SPEC, tmp_path).finished
    assert (tmp_path / FILE).read_bytes() == (record.path / FILE).read_bytes()


def test_without_samples_the_record_is_the_same(record, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_SAMPLES", "0")
    run(SPEC, tmp_path)
    assert not (tmp_path / FILE).exists()
    name = "answers.jsonl"
    assert (tmp_path / name).read_bytes() == (record.path / name).read_bytes()


def test_samples_of_an_older_record_come_from_its_stream(record, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_SAMPLES", "0")
    older = run(SPEC, tmp_path)
    assert read_samples(older) == read_samples(record)
    other = replace(older, meta={**older.meta, "stream_hash": "0" * 64})
    assert read_samples(other) == {}


def test_a_run_that_begins_again_without_samples_keeps_those_it_has(record, tmp_path, monkeypatch):
    run(SPEC, tmp_path, nights=1)
    kept = read(tmp_path)
    monkeypatch.setenv("SLEEPGYM_SAMPLES", "0")
    assert run(SPEC, tmp_path).finished
    assert read(tmp_path) == kept
    assert len(read_samples(read_run(tmp_path))) == len(kept)


def test_documents_that_are_made_on_demand_have_the_digest_of_the_same_ones_at_hand():
    documents = (Document("It rains.", "Weather"), Document("It snows."))
    lazy = LazySequence(lambda: iter(documents))
    assert context_digest([Experience(lazy)]) == context_digest([Experience(documents)])
    plain = json.dumps([asdict(Experience(documents))])
    assert (
        context_digest([Experience(documents)]) == hashlib.sha256(plain.encode()).hexdigest()[:16]
    )

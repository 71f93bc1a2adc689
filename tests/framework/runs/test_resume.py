"""Real agents on a real stream: interrupted or not, the record is the same."""

import pytest

from sleepgym.core.errors import BadRun
from sleepgym.runs.records import TIMES, read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec

SMALL = {"dataset": "invented", "days": 2, "classes_per_day": 2, "train_per_class": 3}


def record(path):
    found = read_run(path)
    timeless = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
        for rows in (found.nights, found.phases)
    ]
    return (path / "answers.jsonl").read_bytes(), timeless


@pytest.mark.parametrize("agent", ["in-context", "retrieval", "nearest", "naive", "naive-lora"])
def test_an_interrupted_run_gives_the_same_record(agent, tmp_path, monkeypatch):
    spec = RunSpec(
        "sleepgym/ClassIncremental-v0",
        agent,
        {**SMALL, "tests_per_class": 2},
        seed=6,
        model="scratch",
    )
    run(spec, tmp_path / "whole")

    class Interrupted(BaseException):
        pass

    def stop_in_the_second_evening(done, *_):
        if done == 6:  # morning, practice, evening, sleep, morning, practice
            raise Interrupted

    with pytest.raises(Interrupted):
        run(spec, tmp_path / "cut", progress=stop_in_the_second_evening)
    assert len(read_run(tmp_path / "cut").phases) == 6
    run(spec, tmp_path / "cut")
    assert record(tmp_path / "cut") == record(tmp_path / "whole")


@pytest.mark.parametrize("lost", [0, 3])
def test_answers_of_phases_that_the_journal_lost_are_not_thrown_away(lost, tmp_path):
    spec = RunSpec("sleepgym/ClassIncremental-v0", "nearest", {**SMALL, "tests_per_class": 2})
    run(spec, tmp_path)
    phases, answers = tmp_path / "phases.jsonl", tmp_path / "answers.jsonl"
    before, whole = answers.read_bytes(), phases.read_bytes().splitlines(keepends=True)
    phases.write_bytes(b"".join(whole[:lost]))
    with pytest.raises(BadRun, match=r"answers\.jsonl holds lines of phases that phases\.jsonl"):
        run(spec, tmp_path)
    assert answers.read_bytes() == before
    phases.write_bytes(b"".join(whole))
    assert run(spec, tmp_path).finished

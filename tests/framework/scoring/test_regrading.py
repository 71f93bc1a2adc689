"""Scores are computed from answers and key; what was edited in a record is named."""

import json
import logging
import shutil

import pytest

from sleepgym import load_runs
from sleepgym.cli import run_command
from sleepgym.core.errors import BadRun
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.regrading import regrade
from synthetic import write_run

SPEC = RunSpec("toy:Toy", "toy:Notes", {"days": 2}, seed=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(SPEC, tmp_path_factory.mktemp("runs") / "run").path


@pytest.fixture
def mine(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def edit(file, change):
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("".join(line + "\n" for line in lines))


def first_score(lines):
    assert '"score": 0.0' in lines[0]
    lines[0] = lines[0].replace('"score": 0.0', '"score": 1.0')


def test_an_untouched_record_is_graded_again_in_silence(whole):
    record = read_run(whole)
    assert record.altered == ()
    found = regrade(record)
    assert (found.record, found.problems, found.reason) == (record, (), None)


def test_an_edited_score_is_named_and_not_believed(mine, whole):
    edit(mine / "answers.jsonl", first_score)
    found = regrade(read_run(mine))
    assert found.record.answers == read_run(whole).answers
    file = mine / "answers.jsonl"
    assert list(found.problems) == [
        f"{file}, line 1: it was edited, or a line before it was removed or moved",
        f"{file}, line 1: score 1 is recorded, its answer is worth 0: what was computed is used",
    ]


def test_score_report_and_load_runs_say_so(mine, whole, tmp_path, recwarn):
    import warnings

    edit(mine / "answers.jsonl", first_score)
    warnings.simplefilter("always")
    for words in (["score", str(mine), "--json"], ["report", str(mine), "--out", f"{tmp_path}/r"]):
        recwarn.clear()
        assert run_command(words) == 0
        said = [str(warning.message) for warning in recwarn]
        assert sum("answers.jsonl, line 1: score 1 is recorded" in text for text in said) == 1
    assert "line 1: score 1 is recorded" in (tmp_path / "r" / "report.html").read_text()
    recwarn.clear()
    assert load_runs(mine)["score"].tolist() == load_runs(whole)["score"].tolist()
    assert len(recwarn) == 2


def drop(lines):
    del lines[2]


def swap(lines):
    lines[3], lines[4] = lines[4], lines[3]


def answer(lines):
    lines[5] = lines[5].replace('"answer": "', '"answer": "x')


@pytest.mark.parametrize(("change", "line"), [(drop, 3), (swap, 4), (answer, 6)])
def test_an_edited_missing_or_swapped_line_is_named(mine, change, line):
    file = mine / "answers.jsonl"
    if change is drop:
        edit(
            mine / "phases.jsonl",
            lambda lines: lines.__setitem__(
                0, lines[0].replace('"questions": 5', '"questions": 4')
            ),
        )
    edit(file, change)
    altered = [text for text in read_run(mine).altered if text.startswith(str(file))]
    assert [f"{file}, line {line}" in text for text in altered] == [True]
    with pytest.raises(BadRun, match=f"line {line if change is not drop else 1}.* cannot go on"):
        run(SPEC, mine)


def test_seconds_of_a_night_cannot_be_edited_unseen(mine):
    def slower(lines):
        row = json.loads(lines[1])
        lines[1] = json.dumps({**row, "seconds": row["seconds"] + 0.5})

    edit(mine / "nights.jsonl", slower)
    assert [str(mine / "nights.jsonl") + ", line 2" in t for t in read_run(mine).altered] == [True]


def test_what_cannot_be_graded_says_so_once(tmp_path, caplog, mine):
    for seed in range(2):
        write_run(tmp_path / f"old/{seed}", seed=seed)
    with caplog.at_level(logging.WARNING, "sleepgym"):
        assert run_command(["score", str(tmp_path / "old"), "--json"]) == 0
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith(f"scores as recorded in {tmp_path}/old/0 (and 1 more runs): unknown")
    meta = json.loads((mine / "run.json").read_text())
    (mine / "run.json").write_text(json.dumps({**meta, "stream_hash": "0" * 64}))
    assert regrade(read_run(mine)).reason == "seed 3 of toy:Toy makes another stream here"


def test_a_stream_is_built_once_for_all_its_runs(whole, monkeypatch):
    from sleepgym.scoring import regrading
    from toy import Toy

    built, stream = [], Toy.stream
    regrading._grader.cache_clear()
    monkeypatch.setattr(Toy, "stream", lambda self, seed: built.append(seed) or stream(self, seed))
    for _ in range(3):
        regrade(read_run(whole))
    assert built == [3]


LARGE = f'{{"step": 0, "day": 0, "phase": "sleep", "questions": 0, "flops": 1{"0" * 400}}}'


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("answers.jsonl", "7", "must be an object, not 7"),
        ("answers.jsonl", '{"id": "a", "answer": "b", "score": NaN}', "NaN is no finite number"),
        ("phases.jsonl", LARGE, "must be a finite number from 0 to 1e30"),
        ("answers.jsonl", '{"id": "a", "answer": "b", "score": 1e999}', "score=inf: must be"),
        ("answers.jsonl", '{"id": "a", "answer": null, "score": 1}', "answer=None: must be text"),
        ("answers.jsonl", '{"id": "a", "score": 1}', "it lacks 'answer'"),
        ("answers.jsonl", "[" * 100_000, "recursion"),
        ("nights.jsonl", "null", "must be an object, not None"),
        ("nights.jsonl", '{"night": 1, "state_digest": "", "seconds": -1}', "seconds=-1: must be"),
        ("phases.jsonl", '{"step": 0, "day": 0, "phase": "x", "questions": 0}', "phase='x': must"),
        ("phases.jsonl", '{"day": 0}', "it lacks 'step'"),
    ],
)
def test_a_malformed_line_is_one_line_of_error(mine, capsys, name, text, says):
    edit(mine / name, lambda lines: lines.__setitem__(0, text))
    for words in (["score", str(mine)], ["resume", str(mine)]):
        assert run_command(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{mine / name}, line 1: " in said
        assert says in said or words[0] == "resume"  # its chain is checked first


@pytest.mark.parametrize("name", ["answers.jsonl", "nights.jsonl"])
def test_a_file_that_is_too_short_is_one_line_of_error(mine, capsys, name):
    edit(mine / name, lambda lines: lines.pop())
    for words in (["score", str(mine)], ["resume", str(mine)]):
        assert run_command(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{mine / name} holds" in said


@pytest.mark.parametrize(
    "change",
    [
        {"spec": None},
        {"spec": {}},
        {"spec": 3},
        {"steps": "many"},
        {"stream_hash": None},
        {"days": -1},
    ],
)
def test_a_damaged_run_json_is_one_line_of_error(mine, capsys, change):
    meta = json.loads((mine / "run.json").read_text())
    (mine / "run.json").write_text(json.dumps({**meta, **change}))
    for words in (["score", str(mine)], ["resume", str(mine)]):
        assert run_command(words) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(mine / "run.json") in said

"""Reading a run: its failures by kind, and when each was still known."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from sleepgym.cli import run_command
from sleepgym.cli.console import console
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.failures import FATES, by_turns, trace_questions

SPEC = RunSpec("toy:Toy", "toy:Fleeting", {"days": 2}, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that knows in the evening and not in the morning."""
    folder = tmp_path_factory.mktemp("runs")
    run(SPEC, folder / "one")
    run(replace(SPEC, agent="toy:Notes"), folder / "two")
    return folder


def printed(capsys, *arguments):
    assert run_command(["look", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_failures_are_printed_with_question_answer_and_history(folder, capsys):
    text = printed(capsys, folder / "one")
    assert "Where is Person10?" in text
    assert "[1/4] direct, day 1, lost overnight" in text
    assert "evening right, morning 1 wrong, morning 2 wrong" in text
    assert "answer   unknown" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Nothing was wrong" in printed(capsys, folder / "two")
    assert "Where is home?" in printed(capsys, folder / "two", "--all")


def test_kind_day_limit_and_json(folder, capsys):
    text = printed(capsys, folder / "one", "--day", "2", "--limit", "1")
    assert "[1/2]" in text
    assert "[2/2]" not in text
    assert "1 more" in text
    rows = [json.loads(line) for line in printed(capsys, folder / "one", "--json").splitlines()]
    assert [row["day"] for row in rows] == [1, 1, 2, 2]
    assert all(row["failed"] and row["gold"][0].startswith("Town") for row in rows)
    base = printed(capsys, folder / "one", "--kind", "base", "--all", "--json")
    assert json.loads(base)["fate"] == "kept"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["one", "--kind", "direkt"], "did you mean direct"),
        (["one", "--day", "7"], "day=7: this run asked about days 0 to 2"),
        (["."], "holds 2 runs: look at one, such as "),
        (["nowhere"], "is not a folder"),
    ],
)
def test_bad_input_is_one_line(arguments, says, folder, capsys):
    assert run_command(["look", str(folder / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_terminal_pages_kind_by_kind(folder, monkeypatch):
    out, said = io.StringIO(), iter(["1", "", "q"])
    monkeypatch.setattr(console, "_file", out)
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "is_interactive", True)
    monkeypatch.setattr("builtins.input", lambda prompt: next(said))
    assert run_command(["look", str(folder / "one")]) == 0
    text = out.getvalue()
    assert "0 all  1 direct" in text
    assert text.count("[1/4]") == 2  # the choice of a kind begins anew
    assert text.count("[2/4]") == 1
    assert "[3/4]" not in text


def test_fates_follow_from_the_scores(tmp_path):
    from sleepgym.runs.records import read_run
    from synthetic import write_run

    record = read_run(write_run(tmp_path / "run", first=0.8, decay=0.5))
    fates = {trace.id: trace.fate for trace in trace_questions(record)}
    # .8 on the own morning and .4 the next is forgotten; a two-hop question scores half of it
    assert fates == {
        "0-base": "kept",
        "1-direct": "forgotten",
        "1-two-hop": "not read",
        "2-direct": "forgotten",
        "2-two-hop": "not read",
        "3-direct": "kept",
        "3-two-hop": "not read",
    }
    assert set(fates.values()) <= FATES.keys()
    assert all(not trace.question and not trace.gold for trace in trace_questions(record))
    kinds = [trace.kind for trace in by_turns(trace_questions(record))]
    assert kinds[:4] == ["direct", "two-hop", "direct", "two-hop"]
    assert kinds[-1] == "base"

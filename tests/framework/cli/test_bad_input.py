"""Settings and streams an agent cannot work with: one line that says what to do, no night kept."""

import sys

import pytest

from sleepgym.cli import run_command

SIZE = {"days": 1, "passages": 1, "questions": 2, "base_questions": 1}


@pytest.mark.parametrize(
    ("agent", "settings", "says"),
    [
        ("replay", {"store_bytes": 20}, "set store_bytes to "),
        ("notebook", {"store_bytes": 20, "samples": 4}, "set store_bytes to "),
        ("retrieval", {"store_bytes": 20}, "set store_bytes to "),
        ("nearest", {"store_bytes": 20}, "set store_bytes to "),
        ("grpo", {}, "run it on sleepgym/Codebook-v0 or sleepgym/ClassIncremental-v0"),
        ("inca", {}, "run it on sleepgym/ClassIncremental-v0, or another agent"),
        ("seeding", {"judge": "embeddings"}, "pip install 'sleepgym[semantic]'"),
    ],
)
def test_what_cannot_work_is_one_line_that_says_what_to_do(
    agent, settings, says, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as where it is not installed
    out = tmp_path / "run"
    command = ["run", "--agent", agent, "--env", "sleepgym/Almanac-v0", "--out", str(out)]
    for option, pairs in (("--env-set", SIZE), ("--agent-set", settings)):
        for name, value in pairs.items():
            command += [option, f"{name}={value}"]
    assert run_command(command) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1, error
    assert not (out / "nights.jsonl").exists() or not (out / "nights.jsonl").read_text()
    assert not list((out / "state").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--zzz"], "No such option: --zzz (see sleepgym run --help)"),
        (["data", "check"], "Missing argument 'FILE' (see sleepgym data check --help)"),
        (["frob"], "No such command 'frob' (see sleepgym --help)"),
    ],
)
def test_a_wrong_option_leads_to_the_help_of_its_command(capsys, arguments, line):
    assert run_command(arguments) == 2
    assert capsys.readouterr().err == f"sleepgym: {line}\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("def x(:", r"SyntaxError: invalid syntax (broken_agent.py, line 1)"),
        ("import sys\n\nsys.exit(3)", "SystemExit: 3 (broken_agent.py, line 3)"),
        ("import os\nos.nope", "AttributeError: module 'os' has no attribute 'nope'"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_module_that_cannot_be_imported_is_one_line(
    command, content, says, tmp_path, capsys, monkeypatch
):
    (tmp_path / "broken_agent.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    run = ["run", "--env", "toy:Toy", "--out", str(tmp_path / "run"), "--agent"]
    assert run_command([*(["check"] if command == "check" else run), "broken_agent:X"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sleepgym: cannot import 'broken_agent:X': its module raised ")
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [":", "..:x", "a b:C", "a:b:c"])
def test_a_name_of_no_class_is_one_line(name, capsys):
    assert run_command(["check", name]) == 2
    assert "is not of the form module:Class" in capsys.readouterr().err


def test_a_rule_that_raises_says_where(capsys, tmp_path, monkeypatch):
    (tmp_path / "quitting_agent.py").write_text(
        "from toy import Notes\n\n\nclass Quits(Notes):\n"
        "    def answer(self, questions):\n        raise SystemExit(4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run_command(["check", "quitting_agent:Quits"]) == 1
    assert "it raised SystemExit: 4 (quitting_agent.py, line 6)" in capsys.readouterr().out


TOY = ["run", "--env", "toy:Toy", "--agent", "toy:Notes"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--seeds", ""], "seeds=: must be numbers and ranges"),
        (["--model", " "], "model= : must name one"),
        (["--env-set", "night_flops=inf"], "night_flops=inf: must be a finite number"),
    ],
)
def test_empty_and_endless_values_are_one_line(change, says, tmp_path, capsys):
    assert run_command([*TOY, *change, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(f"sleepgym: {says}")
    assert not (tmp_path / "run").exists()


def test_several_seeds_are_not_put_into_a_run(tmp_path, capsys):
    assert run_command([*TOY, "--out", str(tmp_path / "run")]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert run_command([*TOY, "--seeds", "0-1", "--out", str(tmp_path / "run")]) == 2
    assert "is a run of one seed" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before

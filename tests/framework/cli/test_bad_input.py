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

"""Several seeds, boards, progress in a pipe, pages of names."""

import re

import pytest

from sleepgym.cli import run_command
from sleepgym.runs.records import read_run

TOY = ["run", "--env", "toy:Toy", "--agent", "toy:Notes", "--env-set", "days=2"]


def fails(capsys, arguments):
    assert run_command([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_several_seeds_lie_beside_each_other_and_go_on(tmp_path, capsys):
    assert run_command([*TOY, "--seeds", "3-4", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "seeds 3-4" in text
    assert {p.name for p in tmp_path.iterdir()} == {"seed-3", "seed-4"}
    before = (tmp_path / "seed-3" / "phases.jsonl").read_bytes()
    assert run_command([*TOY, "--seeds", "3-5", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "seed-3" / "phases.jsonl").read_bytes() == before
    assert read_run(tmp_path / "seed-5").finished


def test_progress_in_a_pipe_is_plain_lines(tmp_path, capsys):
    assert run_command([*TOY, "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("[")]
    assert re.fullmatch(r"\[(\d+)/\1\] morning after night 2 \d\.\d\d", lines[-1])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)


def test_a_board_gives_environment_seeds_model_and_budget(tmp_path, capsys):
    out = tmp_path / "mine"
    command = ["run", "--board", "codebook-8", "--agent", "toy:Fleeting", "--out", str(out)]
    assert run_command([*command, "--seed", "101"]) == 0
    spec = read_run(out / "seed-101").meta["spec"]
    from sleepgym_boards.board import load_board

    board = load_board("codebook-8")
    assert {**spec["env_settings"], **board.environment.settings} == spec["env_settings"]
    assert (spec["env"], spec["exams"]) == (board.environment.id, board.environment.exams)
    assert spec["budget"]["night_flops"] == board.budgets[-1].night_flops
    assert spec["budget"]["added_parameters"] == board.budgets[-1].added_parameters * 8
    capsys.readouterr()
    assert "codebook-8 has seeds 100-104" in fails(capsys, [*command, "--seeds", "100-105"])
    assert "fixes every setting" in fails(capsys, [*command, "--env-set", "days=1"])
    assert "--model embedded" in fails(capsys, [*command, "--model", "scratch"])
    assert "give one of --env" in fails(capsys, [*command, "--env", "toy:Toy"])


def test_a_suite_runs_on_a_board(tmp_path, capsys):
    command = ["suite", "baselines", "--board", "codebook-8", "--dry-run", "--agents", "naive,grpo"]
    assert run_command([*command, "--seeds", "100", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "2 runs" in text
    assert "/out/codebook/grpo/seed-100" in "".join(text.split())
    assert "seeds=7" in fails(capsys, [*command, "--seeds", "7"])
    assert "no agent" in fails(capsys, ["suite", "--board", "codebook-8", "--agents", "inca"])
    assert "did you mean" in fails(capsys, ["suite", "--board", "codebok-8"])
    assert "--board NAME" in fails(capsys, ["suite"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--seeds", "1", "--seed", "2"], "one of --seed and --seeds"),
        (["--seeds", "5-1"], "seeds=5-1"),
        (["--board", "almanac-9"], "give one of --env"),
    ],
)
def test_what_contradicts_itself_is_one_line(change, says, tmp_path, capsys):
    assert says in fails(capsys, [*TOY, "--out", tmp_path / "out", *change])
    assert not (tmp_path / "out").exists()


def test_list_finds_a_name_whatever_it_is(capsys):
    for name, says in {
        "naive": "learning_rate",
        "sleepgym/Codebook-v0": "days",
        "demo": "seeds 100-102",
        "almanac-8": "budget class weights",
    }.items():
        assert run_command(["list", name]) == 0
        assert says in capsys.readouterr().out
    assert "did you mean naive" in fails(capsys, ["list", "naiv"])
    assert "did you mean agents" in fails(capsys, ["list", "agent", "naive"])
    assert "unknown board 'naive'" in fails(capsys, ["list", "boards", "naive"])

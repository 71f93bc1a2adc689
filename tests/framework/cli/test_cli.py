import json
import os
import signal
import subprocess
import sys

import pytest

from checkout import SUPPORT
from sleepgym.cli import run_command

TOY = ["--env", "toy:Toy", "--agent", "toy:Notes"]


def fails(capsys, arguments, code=2):
    """The one line on stderr of a command that must fail with ``code``."""
    assert run_command([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("sleepgym: ")
    assert error.count("\n") == 1, error
    return error


def test_run_score_and_report(tmp_path, capsys):
    out = tmp_path / "run"
    assert run_command(["run", *TOY, "--env-set", "days=2", "--out", str(out)]) == 0
    assert "toy:Notes" in capsys.readouterr().out
    assert run_command(["score", str(out), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["average_accuracy"] == 1.0
    assert scores["consolidation"] == 1.0
    assert scores["forgetting_max"] == 0.0
    assert scores["base_retention"] == 1.0
    assert run_command(["report", str(out), "--out", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000


def test_several_runs_of_one_configuration_give_mean_iqm_and_interval(tmp_path, capsys):
    for seed in (1, 2, 3):
        arguments = ["run", *TOY, "--seed", str(seed), "--out", str(tmp_path / f"seed-{seed}")]
        assert run_command(arguments) == 0
    capsys.readouterr()
    assert run_command(["score", str(tmp_path), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mean"]["average_accuracy"] == 1.0
    assert scores["iqm"]["average_accuracy"] == 1.0
    assert scores["interval"]["average_accuracy"] == [1.0, 1.0]


def test_resume_goes_on_with_what_the_directory_says(tmp_path, capsys):
    from sleepgym.runs.runner import run
    from sleepgym.runs.spec import RunSpec

    out = tmp_path / "run"
    spec = RunSpec("toy:Toy", "toy:Notes", {"days": 4, "night_train_tokens": 50}, seed=9)
    assert not run(spec, out, nights=2).finished
    assert "finished" in fails(capsys, ["score", out])
    assert run_command(["resume", str(out)]) == 0
    assert run_command(["score", str(out), "--json"]) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--env": "sleepgym/ClassIncrementa-v0"}, "did you mean sleepgym/ClassIncremental-v0"),
        ({"--agent": "naiv"}, "did you mean naive"),
        ({"--agent": "nowhere:Agent"}, "no module 'nowhere'"),
        ({"--env-set": "dayz=3"}, "did you mean days"),
        ({"--env-set": "days=-1"}, "greater than or equal to 1"),
        ({"--env-set": "days"}, "key=value"),
        ({"--agent-set": "x=1"}, "unknown setting of agent"),
        ({"--isolation": "sometimes"}, "isolation=sometimes"),
        ({"--seed": "-1"}, "--seed"),
        ({"--seed": "x"}, "--seed"),
        ({"--out": __file__}, "is a file"),
        ({"--agent": "toy:Short"}, "6 answers to 7 questions"),
        ({"--agent": "toy:Sleepless"}, "raised ValueError in night 2"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, change, says):
    options = {"--env": "toy:Toy", "--agent": "toy:Notes", "--out": str(tmp_path / "run"), **change}
    assert says in fails(capsys, ["run", *(word for pair in options.items() for word in pair)])


def test_bad_data_and_models_are_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_OFFLINE", "1")
    out = ["--out", str(tmp_path / "run")]
    clinc = ["--env", "sleepgym/ClassIncremental-v0", "--env-set", "dataset=clinc150"]
    nearest = ["run", *clinc, "--agent", "nearest", *out]
    assert "put it at DIR/clinc150/" in fails(capsys, [*nearest, "--data", tmp_path])
    assert "input should be 'clinc150', 'banking77'" in fails(
        capsys,
        ["run", "--env", clinc[1], "--env-set", "dataset=clinc15", "--agent", "nearest", *out],
    )
    (tmp_path / "clinc150").mkdir()
    (tmp_path / "clinc150" / "domains.json").write_text('{"banking": "no list"}')
    assert "domains.json" in fails(capsys, [*nearest, "--data", tmp_path])
    model = [
        "run",
        "--env",
        "toy:Toy",
        "--agent",
        "frozen",
        "--model",
        str(tmp_path / "none"),
        *out,
    ]
    assert "none" in fails(capsys, model)
    assert not (tmp_path / "run" / "answers.jsonl").exists()


def test_unreadable_runs_are_named(tmp_path, capsys):
    assert "no run" in fails(capsys, ["score", tmp_path])
    (tmp_path / "run.json").write_text("{")
    assert "run.json" in fails(capsys, ["score", tmp_path])
    assert "not a run directory" in fails(capsys, ["resume", tmp_path / "nowhere"])


def test_lists_show_everything_registered(capsys):
    from sleepgym.core import registry

    assert run_command(["list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*registry.agents, *registry.envs))
    for kind, names in (("envs", registry.envs), ("agents", registry.agents)):
        for name in names:
            assert run_command(["list", kind, name]) == 0
    assert "did you mean nearest" in fails(capsys, ["list", "agents", "nearst"])


def test_check_passes_and_fails(capsys):
    assert run_command(["check", "toy:Notes"]) == 0
    assert run_command(["check", "toy:Cribber"]) == 1
    assert "the saved state changed" in capsys.readouterr().out
    assert "unknown" in fails(capsys, ["check", "nothing"])


def test_a_suite_prints_a_table_and_writes_a_report(tmp_path, capsys):
    file = tmp_path / "toys.toml"
    file.write_text(
        'summary = "toys"\nseeds = "1-2"\n[[envs]]\nid = "toy:Toy"\nlabel = "toy"\n'
        '[[agents]]\nid = "toy:Fleeting"\nlabel = "fleeting"\n[[agents]]\nid = "toy:Notes"\n'
    )
    arguments = ["suite", str(file), "--out", str(tmp_path / "out")]
    assert run_command([*arguments, "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    assert run_command(arguments) == 0
    assert "fleeting" in capsys.readouterr().out
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "Difference to fleeting on the same streams" in page  # the suite's first agent


def test_ctrl_c_ends_with_130_and_the_run_goes_on_later(tmp_path):
    out = tmp_path / "run"
    command = ["run", "--env", "toy:Toy", "--env-set", "days=200", "--agent", "toy:Slow"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sleepgym", *command, "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore Ctrl-C, and so would whatever the tests start from one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "phases.jsonl").exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert error.strip().splitlines()[-1].startswith("sleepgym: interrupted")
    assert "Traceback" not in error


def commands(app, path=()):
    """Every command line of the program, as words."""
    from typer.main import get_command

    command = get_command(app) if not path else app
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from commands(child, (*path, name))
        else:
            yield (*path, name)


def test_help_teaches(capsys):
    from sleepgym.cli import app

    assert run_command([]) == 2
    capsys.readouterr()
    found = list(commands(app))
    assert {("run",), ("compare",), ("verify",), ("board", "seeds")} <= set(found)
    for command in found:
        assert run_command([*command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Usage" in text
        assert f"sleepgym {' '.join(command)}" in text.partition("Example")[2], command


def test_version(capsys):
    import sleepgym

    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"sleepgym {sleepgym.__version__}\n"

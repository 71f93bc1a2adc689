"""A run that goes on from another folder, with its model elsewhere, or with other versions."""

import json
import logging
import shutil

import pytest

from sleepgym.cli import run_command
from sleepgym.runs import spec as spec_module
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from toy import Notes


class Modelled(Notes):
    """Says that it uses a model, and never opens it."""

    uses_model = True


@pytest.fixture
def half(tmp_path, monkeypatch):
    """A run that was begun in a folder with its model beside it."""
    monkeypatch.setattr("toy.Modelled", Modelled, raising=False)
    (tmp_path / "begun" / "model").mkdir(parents=True)
    (tmp_path / "begun" / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "begun")
    run(RunSpec("toy:Toy", "toy:Modelled", seed=3, model="model"), tmp_path / "run", nights=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "run"


def test_a_model_that_is_not_found_from_here_can_be_named(half, tmp_path, capsys):
    assert run_command(["resume", str(half)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "its model 'model' is not found from here: name its folder by --model" in said
    shutil.copytree(tmp_path / "begun" / "model", tmp_path / "moved")
    assert run_command(["resume", str(half), "--model", str(tmp_path / "moved")]) == 0
    assert read_run(half).finished


def test_other_files_are_refused_wherever_they_are(half, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"a": 1}')
    assert run_command(["resume", str(half), "--model", str(tmp_path / "other")]) == 2
    assert "holds another run" in capsys.readouterr().err


def test_other_versions_are_said(tmp_path, monkeypatch, caplog):
    spec = RunSpec("toy:Toy", "toy:Notes", seed=3)
    run(spec, tmp_path / "run", nights=1)
    known = json.loads((tmp_path / "run" / "run.json").read_text())["packages"]["numpy"]
    versions = spec_module._versions()
    monkeypatch.setattr(spec_module, "_versions", lambda: {**versions, "numpy": "99.0"})
    with caplog.at_level(logging.WARNING, "sleepgym"):
        run(spec, tmp_path / "run", nights=1)
        assert f"goes on with other versions: numpy {known} -> 99.0" in caplog.text
        monkeypatch.undo()
        caplog.clear()
        assert run(spec, tmp_path / "run").finished
        assert caplog.text == ""

"""Paths and disks that cannot hold a run: one line, nothing half-written."""

import errno

import pytest

from sleepgym.cli import run_command
from sleepgym.core.errors import SleepGymError
from sleepgym.runs import journal as journal_module
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.frames import load_runs
from toy import Notes

SPEC = RunSpec("toy:Toy", "toy:Notes", seed=3)


def a_file_as_parent(folder):
    (folder / "file").write_text("x")
    return folder / "file" / "run"


def a_file(folder):
    (folder / "file").write_text("x")
    return folder / "file"


def a_dangling_link(folder):
    (folder / "link").symlink_to(folder / "nowhere" / "at-all")
    return folder / "link"


def a_long_name(folder):
    return folder / ("x" * 300)


@pytest.mark.parametrize("make", [a_file_as_parent, a_file, a_dangling_link, a_long_name])
def test_a_path_that_cannot_be_is_one_line(tmp_path, make, capsys):
    out = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    command = ["run", "--env", "toy:Toy", "--agent", "toy:Notes", "--out", str(out)]
    assert run_command(command) == 2
    for verb in ("resume", "score"):
        assert run_command([verb, str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 3
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("code", "says"), [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, "disk is full")]
)
def test_a_disk_that_takes_nothing_is_one_line(tmp_path, monkeypatch, code, says):
    def refuse(self, name, rows):
        raise OSError(code, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(journal_module.Journal, "_append", refuse)
        with pytest.raises(SleepGymError, match=says):
            run(SPEC, tmp_path / "run")
    assert run(SPEC, tmp_path / "run").finished


def test_halves_of_surrogate_pairs_are_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(Notes, "_answer", lambda self, question: "a\ud800b\ud83d\ude00")
    out = tmp_path / "run"
    run(SPEC, out)
    assert {line["answer"] for line in read_run(out).answers} == {"a\ufffdb\U0001f600"}
    assert "a\ufffdb\U0001f600" in set(load_runs(out)["answer"])


def test_an_answer_that_equals_everything_is_text(tmp_path, monkeypatch):
    class Chameleon(str):
        """Equal to whatever it is compared with."""

        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

        def lower(self):
            return self

    monkeypatch.setattr(Notes, "_answer", lambda self, question: Chameleon("x"))
    record = run(SPEC, tmp_path / "run", nights=1)
    assert {line["score"] for line in record.answers} == {0.0}

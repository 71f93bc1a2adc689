"""The canonical form of a state, and agents that look for places where nobody counts."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest

from sleepgym.core.errors import AgentError, BadRun
from sleepgym.runs.archive import pack_state, state_digest, unpacked
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from toy import Notes


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "saved"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "b.txt").write_text("two")
    (folder / "a.txt").write_text("one")
    return folder


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def listing(folder):
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]


def test_times_modes_attributes_and_empty_folders_do_not_survive(saved, target):
    plain = state_digest(saved)
    (saved / "Zorvath lives in Quell").mkdir()
    (saved / "a.txt").chmod(0o751)
    os.utime(saved / "a.txt", (1234567, 1234567))
    with suppress(OSError):  # this file system has none
        os.setxattr(saved / "a.txt", "user.note", b"Quell")
    assert pack_state(saved, target) == plain
    assert listing(target) == ["a.txt", "deeper", "deeper/b.txt"]
    copy = target / "a.txt"
    assert (copy.stat().st_mtime, copy.stat().st_mode & 0o111) == (0, 0)
    assert "user.note" not in os.listxattr(copy)


def link(folder):
    (folder / "c").symlink_to("a.txt")


def pipe(folder):
    os.mkfifo(folder / "c")


def odd(folder):
    (folder / "c\n").touch()


@pytest.mark.parametrize("put", [link, pipe, odd])
def test_what_is_no_plain_file_is_refused(saved, target, put):
    put(saved)
    with pytest.raises(AgentError, match="'c"):
        pack_state(saved, target)


def test_a_loaded_state_is_a_checked_copy(saved, tmp_path):
    digest, _ = state_digest(saved)
    with unpacked(saved, digest) as copy:
        assert saved not in copy.parents
        assert not os.stat(copy).st_mode & 0o222
        assert not os.stat(copy / "a.txt").st_mode & 0o222
        assert (copy / "deeper" / "b.txt").read_text() == "two"
    assert not copy.exists()
    (saved / "a.txt").write_text("One")
    with pytest.raises(BadRun, match="its digest is another"), unpacked(saved, digest):
        pass


def test_what_load_writes_is_gone(tmp_path, monkeypatch):
    class Writer(Notes):
        """Leaves a note for the next instance that loads."""

        def load(self, path):
            super().load(path)
            path.chmod(0o755)
            self.notes["found"] = str(sorted(p.name for p in path.iterdir()))
            (path / "note").write_text("hello")
            (path.parent / "note").write_text("hello")

    monkeypatch.setattr("toy.Writer", Writer, raising=False)
    out = tmp_path / "run"
    run(RunSpec("toy:Toy", "toy:Writer", seed=3), out)
    states = [path.name for path in (out / "state").rglob("*")]
    assert states == ["night-00003", "notes.json"]
    last = (out / "state" / "night-00003" / "notes.json").read_text()
    assert 'note"' not in last.replace("notes", "")


def test_a_state_changed_on_disk_is_not_resumed(tmp_path):
    out, spec = tmp_path / "run", RunSpec("toy:Toy", "toy:Notes", seed=3)
    run(spec, out, nights=1)
    (out / "state" / "night-00001" / "notes.json").write_text('{"home": "there"}')
    with pytest.raises(BadRun, match="its digest is another"):
        run(spec, out)
    assert len(read_run(out).nights) == 1


def test_text_in_folder_names_reaches_no_other_instance(tmp_path, monkeypatch):
    class Pathfinder(Notes):
        """Keeps its notes in names of empty folders."""

        def save(self, path):
            for name, town in self.notes.items():
                (path / f"{name}={town}").mkdir()

        def load(self, path):
            self.notes |= dict(p.name.split("=") for p in path.iterdir())

    monkeypatch.setattr("toy.Pathfinder", Pathfinder, raising=False)
    record = run(RunSpec("toy:Toy", "toy:Pathfinder", seed=3), tmp_path / "run")
    taught = [r for r in record.answers if r["phase"] == "morning" and r["item_day"] > 0]
    assert {r["score"] for r in taught} == {0.0}
    assert record.nights[-1]["state_bytes"] == 0


def test_what_an_agent_locked_is_removed_all_the_same(tmp_path):
    (tmp_path / "outside").mkdir(mode=0o755)
    code = (
        "import os, sys; from pathlib import Path; from sleepgym.runs.archive import remove_tree; "
        "os.getuid() or os.setuid(65534); place = Path('mine'); "
        "(place / 'locked' / 'inner').mkdir(parents=True); (place / 'locked' / 'f').touch(); "
        "(place / 'link').symlink_to('../outside'); (place / 'locked').chmod(0); "
        "remove_tree(place); sys.exit(place.exists())"
    )
    tmp_path.chmod(0o777)
    places = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | places, check=True)
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o755

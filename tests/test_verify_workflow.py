"""The script that verifies a pull request, on repositories made for the purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import board_files

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".github" / "verify-submission.sh"
PLACE = "leaderboards/submissions"

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"), "100")[0]


def verdict(folder, files, say="echo checked"):
    """Exit code and Markdown for a pull request with ``files``; ``say`` stands for sleepgym."""

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", *who, *words]
        result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        return result.stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "base")
    base = git("rev-parse", "HEAD")
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "submission")
    head = git("rev-parse", "HEAD")
    git("checkout", "-q", base)
    tool = folder.parent / "sleepgym"
    tool.write_text(f"#!/bin/sh\n{say}\n")
    tool.chmod(0o755)
    out = folder.parent / "verdict.md"
    command = [SCRIPT, base, head, out]
    env = {**os.environ, "SLEEPGYM": str(tool)}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert result.stderr == ""
    return result.returncode, out.read_text()


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    return folder


def test_each_submission_is_verified_for_the_board_of_its_folder(checkout):
    files = {f"{PLACE}/open/a.json.gz": b"1", f"{PLACE}/almanac-8/b-2.json.gz": b"2"}
    code, text = verdict(checkout, files, 'echo "$@" && cat "$2"')
    assert code == 0
    assert "### `open/a`\n~~~~~~~~~~text\nverify a.json.gz --board open\n1~~~" in text
    assert "verify b-2.json.gz --board almanac-8\n2~~~" in text


def test_a_broken_rule_fails(checkout):
    code, text = verdict(checkout, {f"{PLACE}/open/a.json.gz": b"1"}, "echo FAIL; exit 1")
    assert code == 1
    assert "FAIL" in text


def test_the_real_command_gives_the_verdict(checkout, honest):
    files = {f"{PLACE}/open/a.json.gz": honest}
    code, text = verdict(checkout, files, f'exec {sys.executable} -m sleepgym "$@"')
    assert code == 1
    assert "it is for toy version 2; this is open version 1" in text


@pytest.mark.parametrize(
    "name",
    [
        "open/a.json.gz.sh",
        "open/A.json.gz",
        "open/deep/a.json.gz",
        "a.json.gz",
        "open/$(touch owned).json.gz",
        "open/a b.json.gz",
        "open/`id`.json.gz",
        "open/a\nb.json.gz",
    ],
)
def test_other_paths_are_refused_and_never_shown(checkout, name):
    code, text = verdict(checkout, {f"{PLACE}/{name}": b"1"}, "touch ran")
    assert code == 1
    assert text.startswith("A path is not of the form")
    assert name not in text
    assert not (checkout / "owned").exists()


def test_verdicts_and_other_files_are_not_taken(checkout):
    files = {f"{PLACE}/open/a.verdict.json": b"{}", "setup.py": b"", "sleepgym/x.py": b""}
    assert verdict(checkout, files) == (0, "No submission was added or changed.\n")


def test_a_large_file_is_not_taken(checkout):
    code, text = verdict(checkout, {f"{PLACE}/open/a.json.gz": bytes((16 << 20) + 1)})
    assert code == 1
    assert "larger than" in text


def test_a_link_is_read_as_data(checkout):
    (checkout / PLACE / "open").mkdir(parents=True)
    (checkout / PLACE / "open" / "a.json.gz").symlink_to("/etc/hostname")
    code, text = verdict(checkout, {}, 'test ! -L "$2" && cat "$2"')
    assert code == 0
    assert "/etc/hostname~~~" in text  # the text of the link, not what it points to

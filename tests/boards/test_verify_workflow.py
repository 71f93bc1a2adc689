"""The script that verifies a pull request, on repositories made for the purpose."""

import os
import shutil
import subprocess
import sys

import pytest

import board_files
from checkout import ROOT

SCRIPT = ROOT / ".github" / "verify-submission.sh"
PLACE = "leaderboards/submissions"

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"), "100")[0]


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *who, *words]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


def commit(folder, files, gone=()):
    for name in gone:
        (folder / name).unlink()
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "files")
    return git(folder, "rev-parse", "HEAD")


def judge(folder, base, head, say):
    git(folder, "checkout", "-q", base)
    tool = folder.parent / "sleepgym"
    tool.write_text(f"#!/bin/sh\n{say}\n")
    tool.chmod(0o755)
    out = folder.parent / "verdict.md"
    command = [SCRIPT, base, head, out]
    env = {**os.environ, "SLEEPGYM": str(tool)}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert result.stderr == ""
    return result.returncode, out.read_text()


def verdict(folder, files, say="echo checked", before=(), gone=()):
    """Exit code and Markdown for a pull request; ``say`` stands for sleepgym.

    Args:
        folder: The repository.
        files: What the pull request adds or changes.
        say: Shell command.
        before: What the repository holds before.
        gone: What the pull request removes.
    """
    git(folder, "init", "-q")
    base = commit(folder, dict(before))
    return judge(folder, base, commit(folder, files, gone), say)


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
        "open/a.json.gz\n",
        "open/--help.json.gz",
        "open/a..verdict.json",
        "open/\u00e4.json.gz",
        f"open/{'a' * 200}.json.gz",
    ],
)
def test_other_names_are_refused_and_never_shown(checkout, name):
    code, text = verdict(checkout, {f"{PLACE}/{name}": b"1"}, "touch ran")
    assert code == 1
    assert text.startswith("Other paths are changed (1): a submission is")
    assert name.rstrip() not in text
    assert not list(checkout.parent.rglob("owned"))
    assert not list(checkout.parent.rglob("ran"))


HELD = {f"{PLACE}/open/held.json.gz": b"held", f"{PLACE}/open/held.verdict.json": b"{}"}


@pytest.mark.parametrize("held", [{}, HELD])
def test_a_made_up_verdict_is_refused(checkout, held):
    files = {f"{PLACE}/open/held.verdict.json": b'{"ok": true}'}
    code, text = verdict(checkout, files, before=held)
    assert code == 1
    assert text.startswith("`open/held.verdict.json`: verdicts are written by the workflow after ")


def test_a_verdict_beside_an_honest_submission_is_refused(checkout):
    files = {f"{PLACE}/open/a.json.gz": b"1", f"{PLACE}/open/a.verdict.json": b"{}"}
    code, text = verdict(checkout, files)
    assert code == 1
    assert "### `open/a`\n~~~~~~~~~~text\nchecked" in text
    assert "`open/a.verdict.json`: verdicts are written by the workflow" in text


def test_a_deleted_submission_is_refused(checkout):
    code, text = verdict(checkout, {}, before=HELD, gone=HELD)
    assert code == 1
    assert "`open/held` is deleted or renamed: a pull request adds; maintainers remove." in text
    assert "`open/held.verdict.json`: verdicts are written" in text


def test_a_renamed_submission_is_refused(checkout):
    name = f"{PLACE}/open/held.json.gz"
    files = {f"{PLACE}/open/mine.json.gz": b"held"}
    code, text = verdict(checkout, files, before=HELD, gone=[name])
    assert code == 1
    assert "`open/held` is deleted or renamed" in text


def test_a_changed_submission_is_refused_and_not_run(checkout):
    files = {f"{PLACE}/open/held.json.gz": b"another"}
    code, text = verdict(checkout, files, "touch ran", before=HELD)
    assert code == 1
    assert text.startswith("`open/held` is there already: a new version is a new file under anothe")
    assert not list(checkout.parent.rglob("ran"))
    code, text = verdict(checkout, {f"{PLACE}/open/held.json.xz": b"mine"}, "touch ran")
    assert code == 1
    assert text.startswith("`open/held` is there already")


def test_a_submission_that_comes_twice_is_refused_and_not_run(checkout):
    files = {f"{PLACE}/open/a.json.{suffix}": b"1" for suffix in ("gz", "xz")}
    code, text = verdict(checkout, files, "touch ran")
    assert code == 1
    assert text.startswith("`open/a` comes twice")
    assert not list(checkout.parent.rglob("ran"))


def test_a_name_that_was_taken_since_the_pull_request_began_is_refused(checkout):
    git(checkout, "init", "-q")
    start = commit(checkout, {"README.md": b""})
    head = commit(checkout, {f"{PLACE}/open/held.json.gz": b"mine"})
    git(checkout, "checkout", "-q", start)
    code, text = judge(checkout, commit(checkout, HELD), head, "echo checked")
    assert code == 1
    assert text.startswith("`open/held` is there already")


def test_what_was_merged_since_the_pull_request_began_is_not_its_own(checkout):
    git(checkout, "init", "-q")
    start = commit(checkout, {"README.md": b""})
    head = commit(checkout, {f"{PLACE}/open/mine.json.gz": b"mine"})
    git(checkout, "checkout", "-q", start)
    code, text = judge(checkout, commit(checkout, HELD), head, "echo checked")
    assert code == 0
    assert "held" not in text


def test_another_history_is_refused(checkout):
    git(checkout, "init", "-q")
    base = commit(checkout, {"README.md": b""})
    git(checkout, "checkout", "-q", "--orphan", "other")
    head = commit(checkout, {f"{PLACE}/open/mine.json.gz": b"mine"})
    code, text = judge(checkout, base, head, "echo checked")
    assert (code, "no history in common" in text) == (1, True)


def test_code_beside_a_submission_is_refused_and_not_taken(checkout):
    files = {f"{PLACE}/open/a.json.gz": b"1", "setup.py": b"", "sleepgym/x.py": b""}
    code, text = verdict(checkout, files)
    assert code == 1
    assert "Other paths are changed (2)" in text
    assert not (checkout / "sleepgym").exists()


def test_nothing_is_no_submission(checkout):
    assert verdict(checkout, {}) == (0, "No submission was verified.\n")


def test_a_large_file_is_not_taken(checkout):
    code, text = verdict(checkout, {f"{PLACE}/open/a.json.gz": bytes((16 << 20) + 1)})
    assert code == 1
    assert "larger than" in text


@pytest.mark.parametrize("target", ["/etc/hostname", "held.json.gz"])
def test_a_link_is_refused_and_not_followed(checkout, target):
    git(checkout, "init", "-q")
    base = commit(checkout, {"README.md": b""})
    (checkout / PLACE / "open").mkdir(parents=True)
    (checkout / PLACE / "open" / "a.json.gz").symlink_to(target)
    code, text = judge(checkout, base, commit(checkout, {}), "touch ran")
    assert code == 1
    assert text.startswith("`open/a` is no plain file.")
    assert not list(checkout.parent.rglob("ran"))


def test_a_board_that_becomes_a_link_is_refused(checkout):
    git(checkout, "init", "-q")
    base = commit(checkout, HELD)
    shutil.rmtree(checkout / PLACE / "open")
    (checkout / PLACE / "open").symlink_to("/etc")
    code, text = judge(checkout, base, commit(checkout, {}), "touch ran")
    assert code == 1
    assert "`open/held` is deleted" in text
    assert "Other paths are changed (1)" in text

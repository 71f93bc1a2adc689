"""Verdicts on the main branch and on the site are made anew: those on disk are not believed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from checkout import ROOT
from sleepgym.cli import run_command
from sleepgym_boards.catalogue import verdicts as verdicts_module
from sleepgym_boards.catalogue.entries import Entry, load_entries, verdict_file
from sleepgym_boards.catalogue.replays import find_replay, find_replays
from sleepgym_boards.cli import verifying
from sleepgym_boards.submission.files import compress, decompress
from sleepgym_boards.submission.schema import Run, run_digest
from sleepgym_boards.verification.verdict import Reruns, RuleVerdict, Verdict
from sleepgym_boards.verification.verifier import derive_mark

SCRIPT = ROOT / ".github" / "write-verdicts.sh"
PLACE = Path("leaderboards/submissions")
HONEST = sorted((ROOT / PLACE / "almanac-8").glob("*.json.gz"))[0]


@pytest.fixture
def folder(tmp_path):
    """A folder with an honest submission under two names, without verdicts."""
    board = tmp_path / "tree" / PLACE / "almanac-8"
    board.mkdir(parents=True)
    shutil.copy(HONEST, board / "a.json.gz")
    return board.parent


def flatter(board, slug="a", rerun=None):
    """Write a made-up verdict on a file, with its true hash; what the true one says is returned."""
    assert run_command(["verify", str(board / f"{slug}.json.gz"), "--write"]) in (0, 1)
    file = board / f"{slug}.verdict.json"
    true = file.read_bytes()
    verdict = Verdict.model_validate_json(true)
    rules = [RuleVerdict(rule=rule.rule, ok=True) for rule in verdict.rules]
    update = {"rules": rules + ([rerun] if rerun else [])}
    if rerun:
        reruns = Reruns(pairs=1, of=40, isolation="process")
        update["mark"] = derive_mark(False, reruns) if rerun.ok else None
    made_up = verdict.model_copy(update=update)
    if made_up.results:
        made_up.results.mean["average_accuracy"] = 1.0
        made_up.results.seeds[0].metrics["average_accuracy"] = 1.0
    file.write_text(made_up.model_dump_json())
    return true


def verdicts(folder, capsys, *words):
    capsys.readouterr()
    code = run_command(["board", "verdicts", str(folder), *words])
    return code, capsys.readouterr().out.splitlines()


def test_a_made_up_verdict_is_replaced(folder, capsys):
    true = flatter(folder / "almanac-8")
    assert load_entries(folder)[0].verified
    assert verdicts(folder, capsys) == (0, ["almanac-8/a: ok, written"])
    assert (folder / "almanac-8" / "a.verdict.json").read_bytes() == true
    assert verdicts(folder, capsys) == (0, ["almanac-8/a: ok"])


def test_missing_and_stale_verdicts_are_written_and_orphans_removed(folder, capsys):
    board = folder / "almanac-8"
    (board / "b.json.gz").write_bytes(b"no gzip")
    (board / "b.verdict.json").write_bytes(flatter(board))
    (board / "c.verdict.json").write_text("{}")
    (board / "a.verdict.json").unlink()
    assert verdicts(folder, capsys) == (
        1,
        [
            "almanac-8/a: ok, written",
            "almanac-8/b: refused by rule container, written",
            "almanac-8/c: a verdict on nothing, removed",
        ],
    )
    assert [entry.verified for entry in load_entries(folder)] == [True, False]
    assert not (board / "c.verdict.json").exists()


def test_a_submission_under_another_board_breaks_its_rule(folder, capsys):
    shutil.move(folder / "almanac-8", folder / "open")
    assert verdicts(folder, capsys) == (1, ["open/a: refused by rule board, written"])


def test_what_cannot_be_verified_here_keeps_its_verdict(folder, capsys):
    shutil.move(folder / "almanac-8", folder / "nowhere")
    (folder / "nowhere" / "a.verdict.json").write_text("{}")
    code, lines = verdicts(folder, capsys)
    assert code == 1
    assert lines[0].startswith("nowhere/a: cannot be verified here: unknown board 'nowhere'")
    assert (folder / "nowhere" / "a.verdict.json").read_text() == "{}"


@pytest.mark.parametrize("ok", [True, False])
def test_a_rerun_is_carried_over_with_the_bytes_it_was_made_on(folder, capsys, ok):
    board = folder / "almanac-8"
    flatter(board, rerun=RuleVerdict(rule="rerun", ok=ok, note="1 of 40 nights"))
    code, _ = verdicts(folder, capsys)
    entry = load_entries(folder)[0]
    assert code == (0 if ok else 1)
    assert entry.verdict.rules[-1].note == "1 of 40 nights"
    assert (entry.verdict.results is not None) == ok
    assert (entry.verdict.mark and entry.verdict.mark.name) == ("re-run" if ok else None)
    file = board / "a.verdict.json"
    file.write_text(file.read_text().replace(entry.verdict.sha256, "0" * 64))
    verdicts(folder, capsys)
    verdict = load_entries(folder)[0].verdict
    assert verdict.rules[-1].rule == "budget"
    assert verdict.mark == derive_mark(False, None)


def test_a_link_is_not_followed_and_stops_nothing(folder, capsys, tmp_path):
    (folder / "almanac-8" / "b.json.gz").symlink_to(tmp_path / "secret")
    code, lines = verdicts(folder, capsys)
    assert code == 1
    assert lines == [
        "almanac-8/b: cannot be verified here: b.json.gz is no plain file",
        "almanac-8/a: ok, written",
    ]


def test_a_site_that_verifies_believes_no_verdict(folder, capsys, tmp_path):
    rerun = RuleVerdict(rule="rerun", ok=True, note="all nights")
    true = json.loads(flatter(folder / "almanac-8", rerun=rerun))
    site = ["site", "--submissions", str(folder), "--out", str(tmp_path / "site")]
    page = tmp_path / "site" / "almanac-8" / "methods" / "a.html"
    assert run_command(site) == 0
    assert "all nights" in page.read_text()
    assert run_command([*site, "--reverify"]) == 0
    mean = true["results"]["mean"]["average_accuracy"]
    assert f"{100 * mean:.1f}" in page.read_text() or f"{mean:.3f}" in page.read_text()
    assert "all nights" not in page.read_text()


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *who, *words]
    result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


@pytest.fixture
def repository(tmp_path, folder):
    """A checkout of main that can be pushed, and the command in it."""
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote")
    tree = tmp_path / "tree"
    git(tree, "init", "-q", "-b", "main")
    git(tree, "remote", "add", "origin", str(tmp_path / "remote"))
    push(tree)
    tool = tmp_path / "sleepgym"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m sleepgym "$@"\n')
    tool.chmod(0o755)
    return tree


def push(tree):
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "merged")
    git(tree, "push", "-q", "origin", "main")


def write(tree):
    env = {**os.environ, "SLEEPGYM": str(tree.parent / "sleepgym")}
    result = subprocess.run([SCRIPT], cwd=tree, env=env, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_workflow_replaces_a_verdict_that_was_merged(repository):
    true = flatter(repository / PLACE / "almanac-8")
    push(repository)
    assert write(repository) == (0, "almanac-8/a: ok, written\n")
    shown = git(repository, "show", f"origin/main:{PLACE}/almanac-8/a.verdict.json")
    assert shown == true.decode().strip()
    head = git(repository, "rev-parse", "origin/main")
    assert write(repository) == (0, "almanac-8/a: ok\n")
    assert git(repository, "rev-parse", "origin/main") == head


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_workflow_publishes_that_a_rule_is_broken(repository):
    (repository / PLACE / "almanac-8" / "a.json.gz").write_bytes(b"1")
    push(repository)
    assert write(repository) == (1, "almanac-8/a: refused by rule container, written\n")
    assert "container" in git(repository, "show", f"origin/main:{PLACE}/almanac-8/a.verdict.json")


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_workflow_waits_for_what_was_pushed_meanwhile(repository, tmp_path):
    git(tmp_path, "clone", "-q", "remote", "other")
    (tmp_path / "other" / "README.md").write_text("meanwhile")
    push(tmp_path / "other")
    assert write(repository)[0] == 0
    files = git(repository, "ls-tree", "-r", "--name-only", "origin/main").split()
    assert {"README.md", f"{PLACE}/almanac-8/a.verdict.json"} <= set(files)


def test_a_mark_cannot_be_claimed(folder, capsys):
    board = folder / "almanac-8"
    flatter(board)
    file = board / "a.verdict.json"
    made_up = json.loads(file.read_text())
    for mark in (
        {"name": "re-run", "reruns": None},
        {"name": "recomputed", "reruns": {"pairs": 9, "of": 40, "isolation": "sandbox"}},
        {"name": "blessed", "reruns": None},
    ):
        file.write_text(json.dumps(made_up | {"mark": mark}))
        assert load_entries(folder)[0].verdict is None  # it cannot be read
    file.write_text(json.dumps(made_up | {"mark": {"name": "sealed", "reruns": None}}))
    assert verdicts(folder, capsys) == (0, ["almanac-8/a: ok, written"])
    assert load_entries(folder)[0].verdict.mark.name == "recomputed"


def as_new(file, out, change=lambda plain: None):
    """A file under a new name, changed and signed again."""
    plain = json.loads(decompress(file.read_bytes()))
    change(plain)
    for run in plain["runs"]:
        run["digest"] = run_digest(Run.model_validate(run))
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":")) + "\n"
    out.write_bytes(compress(text.encode()))


def rename(plain):
    plain["card"] |= {"name": "Mine", "authors": ["M. Thief"]}
    plain["date"] = "2026-11-22"  # before the true one


def dilate(plain):
    """Other seconds and operations: no digest of a run is the same."""
    rename(plain)
    for run in plain["runs"]:
        for phase in run["phases"]:
            phase["seconds"] += 1e-4
            phase["flops"] += 1.0 if phase["flops"] else 0.0


def borrow(plain):
    """One run of the five is another's, under new settings."""
    rename(plain)
    for run in plain["runs"]:
        run["method"]["settings"] = run["method"]["settings"] | {"mine": 1}


def retouch(plain):
    """In each run another answer to a wrong question, another state, other costs."""
    dilate(plain)
    for run in plain["runs"]:
        nights = [phase for phase in run["phases"] if phase["ledger"]]
        nights[-1]["ledger"]["state_digest"] = "0" * 64
        wrong = [a for phase in run["phases"] for a in phase["answers"] if a["score"] == 0]
        wrong[0]["text"] += " or so"


@pytest.mark.parametrize(
    "change",
    [
        retouch,
        pytest.param(rename, marks=pytest.mark.slow),
        pytest.param(lambda plain: None, marks=pytest.mark.slow),
        pytest.param(dilate, marks=pytest.mark.slow),
        pytest.param(borrow, marks=pytest.mark.slow),
    ],
)
def test_runs_under_a_new_name_are_a_replay(folder, capsys, tmp_path, change):
    board = folder / "almanac-8"
    verdicts(folder, capsys)
    as_new(board / "a.json.gz", board / "0.json.gz", change)  # first by name too
    new = tmp_path / "new.json.gz"
    shutil.copy(board / "0.json.gz", new)
    capsys.readouterr()
    assert run_command(["verify", str(new), "--against", str(folder), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    broken = [rule for rule in said["rules"] if not rule["ok"]]
    assert [rule["rule"] for rule in broken] == ["replay"]
    assert said["mark"] is said["results"] is None
    code, lines = verdicts(folder, capsys)
    assert code == 1
    assert lines == ["almanac-8/0: refused by rule replay, written", "almanac-8/a: ok"]
    assert verdicts(folder, capsys)[1] == ["almanac-8/0: refused by rule replay", "almanac-8/a: ok"]


def test_a_site_shows_no_replay(folder, capsys, tmp_path):
    board = folder / "almanac-8"
    as_new(board / "a.json.gz", board / "b.json.gz", dilate)
    plain = json.loads(decompress((board / "b.json.gz").read_bytes()))
    assert plain["date"] < load_date(board / "a.json.gz")
    for slug in "ab":
        assert run_command(["verify", str(board / f"{slug}.json.gz"), "--write"]) == 0
    site = ["site", "--submissions", str(folder), "--out", str(tmp_path / "site")]
    assert run_command(site) == 0
    pages = tmp_path / "site" / "almanac-8" / "methods"
    refused = [slug for slug in "ab" if "rule replay" in (pages / f"{slug}.html").read_text()]
    assert refused == ["a"]  # without a verdict that was there before, the date decides


def load_date(file):
    return json.loads(decompress(file.read_bytes()))["date"]


def test_runs_stand_on_two_boards_with_the_same_streams_under_one_card_only(tmp_path):
    file = ROOT / PLACE / "almanac-8-v1" / "exam-only.json.gz"
    verdict = Verdict.model_validate_json(verdict_file(file).read_bytes())
    entry = Entry("almanac-8-v1", "exam-only", file, verdict)

    def copy(board, **card):
        header = verdict.header.model_copy(
            update={"board": board, "card": verdict.header.card.model_copy(update=card)}
        )
        return replace(entry, board=board, verdict=verdict.model_copy(update={"header": header}))

    assert find_replays([entry, copy("almanac-8-any")]) == {}
    said = find_replays([entry, copy("almanac-8-any", name="Mine")])[file]
    assert said.endswith(
        ": the same answers and saved states as in almanac-8-v1/exam-only, whose card is another: "
        "the same runs stand on two boards under one card alone"
    )
    new = tmp_path / "new.json.gz"
    shutil.copy(file, new)
    assert find_replay(new, copy("open-v1").verdict, [entry]) == ""
    assert find_replay(new, copy("open-v1", commit="0" * 40).verdict, [entry]) == ""
    for field, claim in (
        ("authors", ["M. Thief"]),
        ("code", "https://example.org/mine"),  # under the true name, leading to another's code
        ("summary", "Mine is better."),
        ("data", "the exams"),
    ):
        assert find_replay(new, copy("open-v1", **{field: claim}).verdict, [entry]) == said, field
    assert find_replays([entry, copy("almanac-64-v1", name="Mine")]) == {}  # other streams


def test_that_replays_were_looked_for_is_shown(capsys, tmp_path):
    file = ROOT / PLACE / "almanac-8-v1" / "exam-only.json.gz"
    verdict = Verdict.model_validate_json(verdict_file(file).read_bytes())
    shown = []
    for against in (None, tmp_path):
        verifying._show(file, verdict, compared_with=against)
        shown.append("compared with" in capsys.readouterr().out)
    assert shown == [False, True]


def test_committed_submissions_are_no_replays():
    assert find_replays(load_entries(ROOT / PLACE)) == {}


def test_a_fault_of_ours_does_not_stop_the_others(folder, capsys, monkeypatch):
    shutil.copy(folder / "almanac-8" / "a.json.gz", folder / "almanac-8" / "b.json.gz")
    true = verdicts_module.verify_file

    def fail(file, *args, **options):
        if file.name.startswith("a"):
            raise ZeroDivisionError("ours")
        return true(file, *args, **options)

    monkeypatch.setattr(verdicts_module, "verify_file", fail)
    code, lines = verdicts(folder, capsys)
    assert code == 1
    assert lines == [
        "almanac-8/a: cannot be verified here: ZeroDivisionError: ours",
        "almanac-8/b: ok, written",
    ]

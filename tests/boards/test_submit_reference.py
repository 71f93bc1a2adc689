"""Filling a board with the reference agents, and what their suites and cards must say."""

import json
import os
import runpy
import subprocess
import sys
import tarfile
import types

import pytest

import board_files
import sleepgym
from checkout import ROOT
from sleepgym.core import registry
from sleepgym.core.settings import plain
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.suite import load_suite
from sleepgym_boards.board import load_board
from sleepgym_boards.catalogue.entries import load_entries
from sleepgym_boards.submission.fields import FIRST_DAY
from sleepgym_boards.submission.files import parse, read_bytes, sha256, write
from sleepgym_boards.verification.identity import board_settings

BOARDS = ROOT / "leaderboards"
ANY_MODEL = ("embedded", "smollm2-reader")  # of suites whose boards take any
SCRIPT = runpy.run_path(str(BOARDS / "submit_reference.py"))
COMMIT = "a1" * 20
TOY_SUITE = """
summary = "a toy"
seeds = "7"
envs = [{ id = "toy:Toy", label = "toy" }]
agents = [{ id = "toy:Notes", label = "notes" }, { id = "toy:Notes", label = "twin" }]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Runs as a suite leaves them, and a board."""
    folder = tmp_path_factory.mktemp("suite")
    board_files.write_board(folder)
    for agent, label in [("Honest", "notes"), ("Twin", "without-notes"), ("Bloated", "bloated")]:
        seeds = range(100, 104 if label == "without-notes" else 105)
        board_files.make_runs(agent, folder / "runs" / "toy" / label, seeds)
    board_files.make_runs("Twin", folder / "runs" / "toy" / "twin")
    board_files.make_runs("Honest", folder / "runs" / "toy" / "Not_A_Slug")
    board_files.make_runs("Honest", folder / "runs" / "short" / "notes", env_settings={"days": 2})
    for record in folder.glob("runs/*/*/*/run.json"):
        meta = json.loads(record.read_text()) | {"commit": COMMIT + "-dirty"}
        record.write_text(json.dumps(meta))
    return folder


def submit(suite, out, runs="runs"):
    board = load_board(str(suite / "toy.toml"))
    found = SCRIPT["submit_all"](suite / runs, board, out)
    return {outcome.label: outcome for outcome in found}


def test_agents_are_submitted_or_listed_with_the_reason(suite, tmp_path):
    outcomes = submit(suite, tmp_path)
    assert [label for label, outcome in outcomes.items() if outcome.file] == ["notes", "twin"]
    assert outcomes["notes"].says.endswith("average_accuracy 1.000, class notes")
    assert outcomes["without-notes"].says == "seeds: no run of seed 104"
    assert outcomes["bloated"].says.startswith("budget: class numbers: ")
    assert "'Not_A_Slug' must be lower-case words" in outcomes["Not_A_Slug"].says
    assert [(e.slug, e.verified) for e in load_entries(tmp_path)] == [
        ("notes", True),
        ("twin", True),
    ]


def test_the_card_is_made_from_the_class(suite, tmp_path):
    outcomes = submit(suite, tmp_path)
    card = parse(read_bytes(outcomes["notes"].file)).card
    assert card.name == "board_agents:Honest: notes"
    assert card.summary.startswith("Writes down what it reads, and says what that costs. A variant")
    assert (card.commit, card.departures) == (COMMIT, "none")


def test_the_same_runs_give_the_same_bytes_on_another_day(suite, tmp_path):
    file = submit(suite, tmp_path)["notes"].file
    submission = parse(read_bytes(file)).model_copy(update={"date": FIRST_DAY.isoformat()})
    write(submission, file)
    before = file.read_bytes()
    assert submit(suite, tmp_path)["notes"].file.read_bytes() == before


def test_what_a_class_cannot_describe_is_a_reason():
    card, not_ready = SCRIPT["method_card"], SCRIPT["NotReady"]
    meta = {"spec": {"agent": "toy:Notes", "agent_settings": {}}, "commit": None}
    with pytest.raises(not_ready, match="at which commit"):
        card("notes", meta)
    meta["commit"] = "0123abc"
    meta["spec"]["agent_settings"]["dreamer"] = "somewhere"
    with pytest.raises(not_ready, match="trained beforehand"):
        card("notes", meta)
    bare = {"spec": {"agent": "test_cards:Bare", "agent_settings": {}}, "commit": "0123abc"}
    module = types.ModuleType("test_cards")
    module.Bare = type("Bare", (sleepgym.Agent,), {"__doc__": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "test_cards", module)
        with pytest.raises(not_ready, match="test_cards:Bare has no docstring"):
            card("bare", bare)


def test_the_command_says_what_is_wrong_in_one_line(suite, tmp_path, capsys):
    main, board = SCRIPT["main"], str(suite / "toy.toml")
    out = ["--out", str(tmp_path / "out")]
    assert main([str(suite / "runs" / "short"), "--board", board, *out]) == 2
    assert "short: days is 2, the board's is 3" in capsys.readouterr().err
    assert main([str(tmp_path), "--board", board, *out]) == 2
    assert "no LABEL/seed-N in it" in capsys.readouterr().err
    assert main([str(tmp_path), "--board", "almanak-8", *out]) == 2
    assert "did you mean almanac-8" in capsys.readouterr().err
    runs = tmp_path / "runs"
    for place in ("a", "b"):
        run(RunSpec("toy:Toy", "board_agents:Honest", seed=100), runs / place / "notes/seed-100")
    assert main([str(runs), "--board", board, *out]) == 2
    assert "two folders of notes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([str(runs / "a"), "--board", board, *out]) == 1
    assert capsys.readouterr().out.startswith("skipped notes: seeds: no run of seed 101")


@pytest.mark.slow
def test_reference_runs_stop_in_time_and_go_on_elsewhere(tmp_path):
    suite = tmp_path / "toy.toml"
    suite.write_text(TOY_SUITE)
    archive, here, there = (tmp_path / name for name in ("ref.tar.gz", "here", "there"))

    def reference(*more):
        words = [BOARDS / "run_reference.py", suite, "--isolation", "in-process", "--workers", "2"]
        command = [sys.executable, *words, "--records", archive, *more]
        found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # toy is in tests/support
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=found)
        return done.returncode, done.stdout, done.stderr

    code, _, error = reference("--first", "nobody", "--out", here)
    assert (code, error.count("\n")) == (2, 1)
    assert "unknown agent 'nobody'" in error
    run(RunSpec("toy:Toy", "toy:Notes", seed=7, label="notes"), here / "toy/notes/seed-7", nights=1)
    for limit in (["--limit-s", "0"], ["--limit-s", "60", "--pack-s", "60"]):
        assert reference(*limit, "--out", here)[:2] == (1, "0 of 2 runs are finished\n")
    with tarfile.open(archive) as records:
        records.extractall(there, filter="data")
    assert (there / "toy/notes/seed-7/state/night-00001").is_dir()
    code, said, error = reference("--first", "twin", "--out", there)
    assert code == 0, error
    assert said.endswith("2 of 2 runs are finished\n")
    with tarfile.open(archive) as records:
        names = {name.split("/")[-1] for name in records.getnames()}
    assert names == {"run.json", "phases.jsonl", "answers.jsonl", "nights.jsonl"}


def test_a_role_follows_the_file_that_plays_it(suite, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "toy").mkdir(parents=True)
    old = out / "toy" / "notes.json.gz"
    old.write_bytes(b"what was there before")
    board = tmp_path / "toy.toml"
    roles = f'[roles]\nsleep = "{sha256(old.read_bytes())}"\nseeding = "{"0" * 64}"\n'
    board.write_text(board_files.BOARD.replace("[environment]", roles + "\n[environment]"))
    command = [str(suite / "runs"), "--board", str(board), "--out", str(out)]
    for said in ("role sleep of board toy goes over to the new notes", ""):
        assert SCRIPT["main"](command) == 0
        assert said in capsys.readouterr().out
        roles = load_board(str(board)).roles
        assert roles == {"sleep": sha256(old.read_bytes()), "seeding": "0" * 64}


def test_a_large_submission_is_compressed_by_xz(suite, tmp_path, monkeypatch, capsys):
    board = tmp_path / "toy.toml"
    board.write_text(board_files.BOARD)
    command = [str(suite / "runs"), "--board", str(board), "--out", str(tmp_path)]
    for most, suffix in ((8 << 20, "gz"), (100, "xz")):
        monkeypatch.setitem(SCRIPT["main"].__globals__, "LARGE_BYTES", most)
        assert SCRIPT["main"](command) == 0
        entry = load_entries(tmp_path)[0]
        assert entry.file.name == f"notes.json.{suffix}"
        assert entry.verified
        assert len(list(entry.file.parent.glob("notes.*"))) == 2  # with its verdict
    entry.file.with_name("notes.json.gz").write_bytes(b"")
    twice = "notes is there twice: as .json.gz and as .json.xz"
    assert [found.problem for found in load_entries(tmp_path)[:2]] == [twice, twice]


@pytest.mark.parametrize(
    ("suite_name", "label", "board"),
    [
        ("first-night", "almanac", "almanac-8-v1"),
        ("baselines", "almanac", "almanac-8-v1"),
        ("baselines", "codebook", "codebook-8"),
        ("baselines", "clinc150", "class-incremental-5-v1"),
        ("ablation", "almanac", "ablation-v1"),
        (str(BOARDS / "suites" / "class-incremental.toml"), "clinc150", "class-incremental-v1"),
        (str(BOARDS / "suites" / "squad-cpt.toml"), "squad", "squad-cpt"),
        (str(BOARDS / "suites" / "squad-8.toml"), "squad", "squad-8"),
        (str(BOARDS / "suites" / "almanac-8-any.toml"), "almanac", "almanac-8-any"),
    ],
)
def test_a_suite_runs_what_its_board_asks(suite_name, label, board):
    suite, board = load_suite(suite_name), load_board(board)
    (env,) = [env for env in suite.envs if env.label == label]
    made = RunSpec(env.id, "frozen", env.settings).make_env()
    assert (env.id, made.exams) == (board.environment.id, board.environment.exams)
    assert plain(made.family.config) == board_settings(board)
    assert suite.seeds == board.public_seeds()
    assert suite.model == board.base_model.spec if board.base_model else suite.model in ANY_MODEL


def test_every_registered_agent_has_a_card():
    cards = {}
    for agent in registry.agents:
        meta = {"spec": {"agent": agent, "agent_settings": {}}, "commit": "0123abc-dirty"}
        cards[agent] = SCRIPT["method_card"](agent, meta)
    assert len({card.name for card in cards.values()}) == len(cards)
    assert cards["ewc"].name == "EWC, online"
    assert cards["ewc"].summary.endswith("(Kirkpatrick et al. 2017; online: Schwarz et al. 2018).")
    assert cards["frozen"].departures == "none"
    sdft, opsd = cards["sdft"].departures, cards["opsd"].departures  # "Those of ..." are told
    assert opsd.startswith(sdft)
    assert len(opsd) > len(sdft)
    meta["spec"]["agent"] = "sleep"
    assert SCRIPT["method_card"]("sleep-gate", meta).name == "Sleep: sleep gate"

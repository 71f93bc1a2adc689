"""From runs to a file, and from a file to a verdict: `submit`, `verify`, and what lies on disk."""

import json
import re
import shutil

import pytest

import board_files
from sleepgym.cli import run_command
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.comparisons import read_finished
from sleepgym.scoring.scores import aggregate, score_run
from sleepgym_boards.catalogue.entries import load_entries, verdict_file
from sleepgym_boards.packing import CARD_TEMPLATE
from sleepgym_boards.submission.files import decompress, parse
from sleepgym_boards.verification.verdict import Verdict
from sleepgym_boards.verification.verifier import verify


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A board, a card and five runs."""
    folder = tmp_path_factory.mktemp("place")
    board_files.write_board(folder)
    board_files.write_card(folder)
    board_files.make_runs("Honest", folder / "runs")
    return folder


def submit(place, out, *runs, **options):
    options = {"board": place / "toy.toml", "card": place / "card.toml", "out": out} | options
    words = [w for k, v in options.items() if v is not None for w in (f"--{k}", str(v))]
    return run_command(["submit", *map(str, runs or [place / "runs"]), *words])


@pytest.fixture(scope="module")
def file(place):
    out = place / "notes.json.gz"
    assert submit(place, out) == 0
    return out


def refused(place, capsys, tmp_path, *runs, **options):
    """The lines of a refusal; nothing may be written."""
    out = tmp_path / "refused" / "mine.json.gz"
    out.parent.mkdir()
    assert submit(place, out, *runs, **options) == 2
    assert list(out.parent.iterdir()) == []
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("sleepgym: ") for line in lines)
    return [line.removeprefix("sleepgym: ") for line in lines]


def test_numbers_are_those_of_the_runs(place, file):
    board = board_files.load_board(str(place / "toy.toml"))
    results = verify(file.read_bytes(), board).results
    scores = [score_run(record) for record in read_finished(place / "runs")]
    scores = [{name: run[name] for name in results.mean} for run in scores]  # what a file carries
    assert [seed.metrics for seed in results.seeds] == scores
    group = aggregate(scores)
    assert results.mean == group["mean"]
    assert results.iqm == group["iqm"]
    assert results.n == group["n"]
    spans = {name: tuple(span) if span else None for name, span in group["interval"].items()}
    assert results.interval == spans
    assert [night.night for night in results.nights] == [1, 2, 3]
    last = [record.nights[-1]["state_text_bytes"] for record in read_finished(place / "runs")]
    assert results.nights[2].state_text_bytes == sum(last) / 5
    assert results.nights[1].evening == results.nights[1].morning == 1.0
    assert results.matrix[0][1:] == [0, 0, 0]
    assert results.matrix[3] == [1, 1, 1, 1]
    assert results.matrix[1][3] is None
    assert results.retention_curve == [1, 1, 1]


def test_a_file_holds_no_question_and_no_answer_key(place, file):
    record = next(iter(read_finished(place / "runs")))
    samples = (record.path / "samples.jsonl").read_text()
    assert "Where is Person10?" in samples
    text = decompress(file.read_bytes()).decode()
    assert "Person10" not in text
    assert "context" not in text
    assert "gold" not in text


def test_a_file_and_its_verdict_are_the_same_every_time(place, file, tmp_path):
    assert submit(place, tmp_path / "again.json.gz") == 0
    assert (tmp_path / "again.json.gz").read_bytes() == file.read_bytes()
    board = board_files.load_board(str(place / "toy.toml"))
    first, second = (verify(file.read_bytes(), board).model_dump_json() for _ in range(2))
    assert first == second


def test_a_file_tells_no_path_of_its_maker(place, file):
    assert str(place).encode() not in decompress(file.read_bytes())


def test_the_command_in_a_header_repeats_the_run(place, file, tmp_path, monkeypatch):
    import shlex

    board = board_files.load_board(str(place / "toy.toml"))
    header = verify(file.read_bytes(), board).header
    assert sorted(header.commands) == [100, 101, 102, 103, 104]
    monkeypatch.chdir(tmp_path)
    assert run_command(shlex.split(header.commands[102])[1:]) == 0
    answers = (place / "runs" / "seed-102" / "answers.jsonl").read_bytes()
    assert (tmp_path / "runs" / "seed-102" / "answers.jsonl").read_bytes() == answers


def test_everything_that_is_missing_is_listed(place, capsys, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs", runs)
    shutil.rmtree(runs / "seed-104")
    run(RunSpec("toy:Toy", "board_agents:Honest", seed=7), runs / "seed-7")
    shutil.rmtree(runs / "seed-103")
    run(RunSpec("toy:Toy", "board_agents:Honest", seed=103), runs / "seed-103", nights=1)
    (runs / "seed-101" / "answers.jsonl").write_text("{\n")
    assert refused(place, capsys, tmp_path, runs, card=None) == [
        "no method card: `sleepgym board card > card.toml`, fill it in, --card",
        f"{runs}/seed-101: {runs}/seed-101/answers.jsonl, line 1: Expecting property name enclosed "
        "in double quotes: line 1 column 2 (char 1)",
        f"{runs}/seed-103 is not finished (5 of 16 phases): sleepgym resume {runs}/seed-103",
        "seeds: no run of seed 101, 103, 104",
        "seeds: seed 7 is not of the board, which asks 100, 101, 102, 103, 104",
    ]


def test_the_blank_card_is_refused_field_by_field(place, capsys, tmp_path):
    card = tmp_path / "card.toml"
    assert run_command(["board", "card"]) == 0
    assert capsys.readouterr().out == CARD_TEMPLATE
    card.write_text(CARD_TEMPLATE)
    lines = refused(place, capsys, tmp_path, card=card)
    fields = [line.split(": ")[1] for line in lines]
    assert fields == ["name", "summary", "authors.0", "code", "commit"]
    assert refused_card(place, capsys, tmp_path / "a", "name = ") == "Invalid value"
    assert refused_card(place, capsys, tmp_path / "b", None) == "No such file"


def refused_card(place, capsys, folder, text):
    folder.mkdir()
    card = folder / "card.toml"
    if text is not None:
        card.write_text(text)
    (line,) = refused(place, capsys, folder, card=card)
    return line.split(": ")[1][:12] if text is None else line.split(": ")[1][:13]


def test_another_configuration_is_named(place, capsys, tmp_path):
    runs = board_files.make_runs("Honest", tmp_path / "runs", env_settings={"days": 2})
    lines = refused(place, capsys, tmp_path, runs)
    assert lines[0] == "environment: seed 100: days is 2, the board's is 3"
    assert len(lines) == 5


def test_runs_of_two_methods_are_told_apart(place, capsys, tmp_path):
    runs = board_files.make_runs("Twin", tmp_path / "runs", [104])
    four = [place / "runs" / f"seed-{seed}" for seed in range(100, 104)]
    assert refused(place, capsys, tmp_path, runs, *four) == [
        "one-method: seeds 100 and 104 differ in agent"
    ]


def test_an_exceeded_budget_is_refused(place, capsys, tmp_path):
    runs = board_files.make_runs("Bloated", tmp_path / "runs")
    lines = refused(place, capsys, tmp_path, runs)
    assert lines[1].startswith("budget: class notes: seed 100: state_text_bytes of 3,7")


def test_records_without_kinds_of_state_are_refused(place, capsys, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs", runs)
    for nights in runs.glob("*/nights.jsonl"):
        nights.write_text(nights.read_text().replace("state_keys_bytes", "state_hint_bytes"))
    lines = refused(place, capsys, tmp_path, runs)
    lines = [line for line in lines if "was edited" not in line]
    assert len(lines) == 5
    assert "lack 'state_keys_bytes': they are of an older SleepGym, run again" in lines[0]


def test_a_prompt_of_ones_own_is_refused(place, capsys, tmp_path):
    """Its text is counted by nobody: it could hold what the agent is asked about."""
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs", runs)
    for file in runs.glob("*/run.json"):
        meta = json.loads(file.read_text())
        meta["spec"]["prompt"] = '{"system": "the answers are ...\\n"}'
        file.write_text(json.dumps(meta))
    lines = refused(place, capsys, tmp_path, runs)
    assert len(lines) == 5
    assert all(line.startswith("prompt: ") for line in lines)
    assert "whose text a submission does not hold" in lines[0]


def test_a_long_answer_counts_as_far_as_it_is_kept(tmp_path):
    content, board = board_files.packed("Verbose", tmp_path)
    answer = parse(content).runs[0].phases[0].answers[0]
    assert len(answer.text) == 2000
    assert answer.sha256
    assert verify(content, board).ok


@pytest.mark.parametrize("out", ["mine.zip", "mine"])
def test_the_name_of_a_file_is_fixed(place, capsys, tmp_path, out):
    assert submit(place, tmp_path / out) == 2
    assert "ends in .json.gz" in capsys.readouterr().err
    assert submit(place, tmp_path / "nowhere" / "mine.json.gz") == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_verify_prints_a_verdict_a_rule(place, file, capsys):
    board = ["--board", str(place / "toy.toml")]
    capsys.readouterr()
    assert run_command(["verify", str(file), *board]) == 0
    shown = capsys.readouterr().out
    assert shown.count(" ok ") == 18
    assert "Notes: average accuracy 1.000 [1.000, 1.000], budget class notes" in shown
    assert run_command(["verify", str(file), *board, "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["ok"] is True
    assert verdict["results"]["mean"]["average_accuracy"] == 1.0


def test_verify_exits_with_1_and_shows_no_control_character(place, file, capsys, tmp_path):
    def rename(plain):
        plain["runs"][0]["phases"][0]["answers"][0]["id"] = "\x1b[2J\n"

    bad = tmp_path / "bad.json.gz"
    bad.write_bytes(board_files.edited(file.read_bytes(), rename, sign=False))
    board = ["--board", str(place / "toy.toml")]
    capsys.readouterr()
    assert run_command(["verify", str(file), str(bad), *board]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "\x1b" not in out
    assert run_command(["verify", str(file), str(bad), *board, "--json"]) == 1
    assert [v["ok"] for v in json.loads(capsys.readouterr().out)] == [True, False]
    assert run_command(["verify", str(tmp_path / "none.json.gz")]) == 2


def test_verify_reports_every_file_though_one_cannot_be_verified(place, file, capsys, tmp_path):
    lost, bad = tmp_path / "lost.json.gz", tmp_path / "bad.json.gz"
    bad.write_bytes(file.read_bytes()[:-1])
    words = ["verify", str(lost), str(bad), str(file), "--board", str(place / "toy.toml")]
    capsys.readouterr()
    assert run_command(words) == 2
    said = capsys.readouterr()
    assert said.err == f"sleepgym: {lost}: No such file or directory\n"
    assert "FAIL" in said.out
    assert "recomputed. Notes: average accuracy 1.000" in said.out
    assert run_command([*words, "--json"]) == 2
    verdicts = json.loads(capsys.readouterr().out)
    assert [verdict["ok"] for verdict in verdicts] == [False, False, True]
    assert verdicts[0]["error"] == f"{lost}: No such file or directory"
    assert verdicts[2]["mark"] == {"name": "recomputed", "reruns": None}


def edit_lines(file, change):
    lines = file.read_text().splitlines(keepends=True)
    change(lines)
    file.write_text("".join(lines))


def drop_a_night(run):
    edit_lines(run / "nights.jsonl", lambda lines: lines.pop(1))


def write_no_object(run):
    edit_lines(run / "answers.jsonl", lambda lines: lines.__setitem__(0, "7\n"))


def score_nan(run):
    def change(lines):
        lines[0] = json.dumps(json.loads(lines[0]) | {"score": float("nan")}) + "\n"

    edit_lines(run / "answers.jsonl", change)


def answer_nothing(run):
    def change(lines):
        lines[0] = json.dumps(json.loads(lines[0]) | {"answer": None}) + "\n"

    edit_lines(run / "answers.jsonl", change)


def have_no_model(run):
    meta = json.loads((run / "run.json").read_text())
    del meta["spec"]["model"]
    (run / "run.json").write_text(json.dumps(meta))


def have_no_spec(run):
    meta = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(meta | {"spec": None}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_a_night, "nights"),
        (write_no_object, "answers"),
        (score_nan, "finite number"),
        (have_no_spec, "spec|field"),
        (have_no_model, "lack 'model'"),
        (answer_nothing, "answer=None: must be text"),
    ],
)
def test_a_damaged_record_is_one_line(place, capsys, tmp_path, change, says):
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs", runs)
    change(runs / "seed-102")
    lines = refused(place, capsys, tmp_path, runs)
    assert f"{runs}/seed-102" in lines[0]
    assert re.search(says, lines[0].replace(str(runs), ""))
    assert lines[1:] in ([], ["seeds: no run of seed 102"])


def test_a_byte_order_mark_in_a_card_is_named(place, capsys, tmp_path):
    card = tmp_path / "card.toml"
    card.write_text(board_files.CARD, encoding="utf-8-sig")
    (line,) = refused(place, capsys, tmp_path, card=card)
    assert line.endswith("begins with a byte order mark (BOM): save it as UTF-8 without one")


def test_a_file_for_a_board_that_is_not_there_breaks_its_rule(file):
    verdict = verify(file.read_bytes())
    assert board_files.broken(verdict) == ["board"]
    assert verdict.header.card.name == "Notes"


def test_entries_are_verified_by_their_verdict_and_hash(place, file, tmp_path):
    folder = tmp_path / "submissions" / "toy"
    folder.mkdir(parents=True)
    for slug in ("a", "b", "c", "d"):
        shutil.copy(file, folder / f"{slug}.json.gz")
    board = ["--board", str(place / "toy.toml")]
    written = [str(folder / f"{slug}.json.gz") for slug in "abd"]
    assert run_command(["verify", *written, *board, "--write"]) == 0
    (folder / "b.json.gz").write_bytes(file.read_bytes() + b"x")  # changed since
    (folder / "d.verdict.json").write_text("{}")
    entries = load_entries(tmp_path / "submissions")
    assert [(e.board, e.slug, e.verified) for e in entries] == [
        ("toy", "a", True),
        ("toy", "b", False),
        ("toy", "c", False),
        ("toy", "d", False),
    ]
    assert [e.verdict is None for e in entries] == [False, False, True, True]
    assert Verdict.model_validate_json(verdict_file(folder / "a.json.gz").read_text()).ok
    shutil.move(folder, tmp_path / "submissions" / "almanac-8")  # under another board
    assert not load_entries(tmp_path / "submissions")[0].verified

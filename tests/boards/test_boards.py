"""Board files, base models and sealed seeds."""

import stat

import pytest

import board_files
from checkout import ROOT
from sleepgym.cli import run_command
from sleepgym.core import registry
from sleepgym.core.errors import SleepGymError, UnknownName
from sleepgym.runs.models.base_model import model_digest
from sleepgym.scoring.glossary import GLOSSARY
from sleepgym_boards.board import board_names, higher_is_better, load_board, load_boards
from sleepgym_boards.sealed_seeds import commitment, new_salt, read_salt
from sleepgym_boards.verification.identity import board_settings
from sleepgym_boards.verification.rules import RULES
from sleepgym_boards.verification.verdict import MARKS
from sleepgym_boards.verification.verifier import board_seeds, verify

BOARDS = {board.name: board for board in load_boards()}
WANTED = {"almanac-8", "almanac-64", "lifelong-256", "codebook-8", "class-incremental"}
WANTED |= {"squad-cpt", "ablation", "open"}
OLD = [board for board in BOARDS.values() if board.superseded_by]


def test_the_boards_are_there():
    assert set(board_names()) >= WANTED


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board_is_whole(board):
    later = {
        "shots",
        "instruction",
        "metric",
        "articles",
        "labels",
    }  # came after some boards, which have the defaults
    assert board_settings(board).keys() - later == board.environment.settings.keys() - later
    seeds = board.public_seeds()
    assert len(seeds) >= 5
    assert all(100 <= seed < 200 for seed in seeds)
    assert {board.headline, *board.tie_breaks} <= GLOSSARY.keys()
    assert len({budget.name for budget in board.budgets}) == len(board.budgets)
    if board.base_model:
        assert model_digest(board.base_model.spec) == board.base_model.digest


@pytest.mark.parametrize("board", OLD, ids=[board.name for board in OLD])
def test_a_superseded_board_differs_from_its_successor_in_what_exams_give_away(board):
    new = BOARDS[board.superseded_by]
    assert new.environment.id == board.environment.id.replace("-v0", "-v1")
    labels = {"labels": "codes"} if "ClassIncremental" in new.environment.id else {}
    assert new.environment.settings == {**board.environment.settings, **labels}
    own = {"name": True, "superseded_by": True, "roles": True, "environment": {"id", "settings"}}
    own["budgets"] = {"__all__": {"added_parameters"}}  # they are measured now, not declared
    assert new.model_dump(exclude=own) == board.model_dump(exclude=own)


def test_every_board_stands_on_the_newest_version_of_its_environment_or_says_what_does():
    for board in BOARDS.values():
        family, version = board.environment.id.rsplit("-v", 1)
        newest = f"{family}-v{int(version) + 1}" not in registry.envs
        assert newest == (board.superseded_by is None)


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_numbers_that_may_be_kept_may_be_added(board):
    """Floats in a state count as added: whole weights that are kept need room by either limit."""
    for budget in board.budgets:
        weights_bytes, added = budget.state_bytes.weights, budget.added_parameters
        assert board.superseded_by or None in (weights_bytes, added) or added >= weights_bytes / 4


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_seconds_rank_nowhere(board):
    """Whoever claims a GPU can claim any: `docs/trust.md`."""
    assert not [name for name in (board.headline, *board.tie_breaks) if "seconds" in name]


@pytest.mark.parametrize("name", ["almanac-8", "codebook-8", "lifelong-256"])
def test_the_embedded_model_is_fixed(name):
    assert BOARDS[name].base_model.spec == "embedded"
    assert BOARDS["open"].base_model is None


def test_less_forgetting_and_less_cost_are_better():
    better = {name for name in GLOSSARY if higher_is_better(name)}
    assert {"average_accuracy", "backward_transfer", "half_life", "within_budget"} <= better
    worse = {"forgetting_max", "night_flops", "state_text_bytes", "added_parameters"}
    assert not better & (worse | {"awake_seconds", "missing_answers"})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 2", "", "version: Field required"),
        ("[environment]", "[env]", "environment: Field required"),
        ("night_flops = 1e9", "night_flops = -1", r"budgets.0.night_flops"),
        ("night_flops = 1e9", "night_flop = 1", r"budgets.0.night_flop: Extra inputs"),
        ("version = 2", "version = ", "malformed"),
        ('seeds = "100-104"', "", "give either seeds or"),
        ('seeds = "100-104"', 'seeds = "5"\nbase_model = "sleepgym-bas"', "mean sleepgym-base"),
    ],
)
def test_a_malformed_board_is_one_line(tmp_path, old, new, says):
    with pytest.raises(SleepGymError, match=says) as caught:
        board_files.write_board(tmp_path, board_files.BOARD.replace(old, new))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["almanac", "../boards/almanac-8", "missing.toml"])
def test_an_unknown_board_is_named(name):
    with pytest.raises(UnknownName, match="almanac"):
        load_board(name)


SALT = "00112233445566778899aabbccddeeff" * 2


CODES = ("a" * 40, "b" * 64)


def sealed(folder, salt="", codes=CODES, change=lambda text: text):
    """The toy board sealed: with these commits, and changed after the commitment was made."""
    made = commitment(board_files.write_board(folder).terms(5), SALT)
    listed = ", ".join(f'"{code}"' for code in codes)
    seal = f'seal = {{ commitment = "{made}", count = 5, codes = [{listed}]{salt} }}'
    text = board_files.BOARD.replace('seeds = "100-104"', seal)
    return board_files.write_board(folder, change(text))


def test_a_seal_hides_the_seeds_until_the_salt_is_out(tmp_path):
    board = sealed(tmp_path)
    assert board.public_seeds() is None
    with pytest.raises(SleepGymError, match="sealed: give --salt"):
        board_seeds(board)
    seeds = board_seeds(board, SALT)
    assert seeds == tuple(sorted(set(seeds)))
    assert len(seeds) == 5
    assert all(1000 <= seed < 1000 + 2**48 for seed in seeds)
    assert sealed(tmp_path, f', salt = "{SALT}"').public_seeds() == seeds


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 2", "version = 3"),
        ("days = 3", "days = 4"),
        ("count = 5", "count = 6"),
        ('exams = "full"', 'exams = "spaced"'),
    ],
)
def test_a_commitment_binds_version_environment_and_number_of_streams(tmp_path, old, new):
    board = sealed(tmp_path, change=lambda text: text.replace(old, new))
    with pytest.raises(SleepGymError, match="not the one that board toy commits to, or its ver"):
        board.sealed_seeds(SALT)


def test_a_commitment_binds_board_and_salt(tmp_path):
    board = sealed(tmp_path)
    for other, salt in ((board, SALT[::-1]), (board.model_copy(update={"name": "other"}), SALT)):
        with pytest.raises(SleepGymError, match="not the one"):
            other.sealed_seeds(salt)
    with pytest.raises(SleepGymError, match="has no seal"):
        board_files.write_board(tmp_path).sealed_seeds(SALT)


def test_streams_are_drawn_after_the_code_is_fixed(tmp_path):
    seeds = sealed(tmp_path).sealed_seeds(SALT)
    assert sealed(tmp_path, codes=CODES[::-1]).sealed_seeds(SALT) == seeds
    for codes in (CODES[:1], (*CODES, "c" * 40)):  # one left out, one added later
        assert not set(sealed(tmp_path, codes=codes).sealed_seeds(SALT)) & set(seeds)
    with pytest.raises(SleepGymError, match="names no code yet"):
        sealed(tmp_path, codes=()).sealed_seeds(SALT)
    with pytest.raises(SleepGymError, match=r"seal\.codes\.0"):
        sealed(tmp_path, codes=("0123abc",))  # not whole


def test_a_salt_is_secret_random_and_never_overwritten(tmp_path):
    file = tmp_path / "salt"
    salt = new_salt(file)
    assert read_salt(file) == salt
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert new_salt(tmp_path / "another") != salt
    with pytest.raises(SleepGymError, match="File exists"):
        new_salt(file)
    for content in ("", "abc", "x" * 64):
        file.write_text(content)
        with pytest.raises(SleepGymError, match="holds no salt"):
            read_salt(file)


def test_a_sealed_round_from_start_to_end(tmp_path, capsys):
    salt, file = tmp_path / "salt", str(tmp_path / "toy.toml")

    def walk(text):
        board_files.write_board(tmp_path, text)
        assert run_command(["board", "seal", file, "--salt", str(salt)]) == 0
        return capsys.readouterr().out

    said = walk(board_files.BOARD)
    assert said.startswith("Step 1 of 4")
    lines = said[said.index("[seal]") : said.index("\nIt binds")]
    text = board_files.BOARD.replace('seeds = "100-104"\n', "")
    text = text.replace("[environment]", lines + "\n[environment]")
    assert walk(text).startswith("Step 2 of 4")
    assert run_command(["board", "seeds", file, "--salt", str(salt)]) == 2
    assert "names no code yet" in capsys.readouterr().err
    code = "0123abc" + "0" * 33
    text = text.replace("count = 5", f'count = 5\ncodes = ["{code}"]')
    said = walk(text)
    assert said.startswith("Step 3 of 4")
    assert run_command(["board", "seeds", file]) == 2
    capsys.readouterr()
    assert run_command(["board", "seeds", file, "--salt", str(salt)]) == 0
    listed = capsys.readouterr().out
    assert listed in said
    runs = board_files.make_runs("Honest", tmp_path / "runs", [int(s) for s in listed.split(",")])
    out = tmp_path / "mine.json.gz"

    def submit(commit):
        card = board_files.write_card(tmp_path, board_files.CARD.replace("0123abc", commit))
        words = ["submit", runs, "--board", file, "--card", card, "--out", out, "--salt", salt]
        return run_command([*map(str, words)])

    assert submit("c" * 40) == 2
    assert "card: code cccc" in capsys.readouterr().err
    assert submit(code) == 0
    verify_it = ["verify", str(out), "--board", file]
    assert run_command([*verify_it, "--salt", str(salt)]) == 0
    assert run_command(verify_it) == 2
    capsys.readouterr()
    opened = f'count = 5\nsalt = "{salt.read_text().strip()}"'
    assert walk(text.replace("count = 5", opened)).startswith("Step 4 of 4")
    late = verify(out.read_bytes(), load_board(file))  # a file that anybody could make by now
    assert late.ok
    assert late.mark.name == "recomputed"
    listed = f'{opened}\nsubmissions = ["{late.sha256}"]'
    assert "the submissions of the list (1)" in walk(text.replace("count = 5", listed))
    verdict = verify(out.read_bytes(), load_board(file))
    assert verdict.ok
    assert verdict.mark.name == "sealed"


def test_the_rules_page_has_every_rule():
    page = (ROOT / "docs" / "leaderboards.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{name}` | {words} |" for name, words in RULES.items()]


def test_the_page_on_trust_goes_through_every_rule_and_mark():
    page = (ROOT / "docs" / "trust.md").read_text()
    named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert named == ["in-process", "process", "sandbox", *MARKS, *RULES]


def test_the_command_line_lists_boards(capsys):
    assert run_command(["list", "boards"]) == 0
    assert set(capsys.readouterr().out.split()) >= WANTED
    assert run_command(["list", "boards", "codebook-8"]) == 0
    assert "Codebook-v0" in capsys.readouterr().out
    assert run_command(["list", "boards", "almanac-8"]) == 0
    assert "superseded by board almanac-8-v1" in capsys.readouterr().out
    assert run_command(["list", "boards", "codebok-8"]) == 2
    assert "did you mean codebook-8" in capsys.readouterr().err
    assert run_command(["board", "digest"]) == 0
    assert capsys.readouterr().out.strip() == BOARDS["almanac-8"].base_model.digest
    assert run_command(["board", "digest", "nowhere"]) == 2

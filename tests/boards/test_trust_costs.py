"""What is kept counts, and what changed was paid for: the attacks on sizes, costs and grades."""

import pytest

import board_files
from board_files import broken, edited, phases
from sleepgym_boards.board import load_boards
from sleepgym_boards.floors import MOST_ADDED, floors
from sleepgym_boards.packing import NotReady
from sleepgym_boards.submission.files import parse
from sleepgym_boards.verification.replay_night import replay_night
from sleepgym_boards.verification.rerun import compare
from sleepgym_boards.verification.verifier import verify

ROOMY = board_files.BOARD.replace("100-104", "100").replace("weights = 2000", "weights = 50000")
ROOMY = ROOMY.replace("text = 5", "text = 100")


@pytest.fixture(scope="module")
def weigher(tmp_path_factory):
    """A submission of an agent that keeps 20,000 numbers, and its board."""
    folder = tmp_path_factory.mktemp("weigher")
    board = board_files.write_board(folder, ROOMY)
    runs = board_files.make_runs("Weigher", folder / "runs", [100])
    packed = board_files.pack([runs], board, board_files.write_card(folder))
    return board_files.compress(board_files.dump(packed)), board


def work_for_free(plain):
    for phase in plain["runs"][0]["phases"]:
        costs = ("read_tokens", "generated_tokens", "train_tokens")
        phase |= dict.fromkeys(costs, 0) | {"flops": 0.0}


def add_nothing(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"] |= {"added_parameters": 0, "declared_parameters": 0}


def declare_more_than_is_added(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"]["declared_parameters"] = 30_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (work_for_free, "bytes of numbers in the state changed, and the meter counted nothing"),
        (add_nothing, "bytes of numbers, and it added 0 parameters"),
        (declare_more_than_is_added, "it added 20000 parameters and declared 30000"),
    ],
)
def test_numbers_are_neither_free_nor_hidden(weigher, change, says):
    content, board = weigher
    assert verify(content, board).ok
    verdict = verify(edited(content, change), board)
    assert broken(verdict) == ["ledger"]
    assert any(says in problem for rule in verdict.rules for problem in rule.problems)


def test_a_rerun_counts_the_numbers_itself(weigher):
    content, board = weigher
    run = parse(content).runs[0]
    assert run.phases[-2].ledger.declared_parameters == 0
    lived = replay_night(run, 1, board)
    assert not compare(run, 1, lived, board).problems

    def halve(plain):
        for phase in phases(plain, "sleep"):
            phase["ledger"]["added_parameters"] = 10_000

    forged = edited(content, halve)
    assert verify(forged, board).ok  # as float64 they could be so few
    problems = compare(parse(forged).runs[0], 1, lived, board).problems
    assert problems == ["added_parameters is 20000, not 10000"]


def test_numbers_that_did_not_change_need_no_work(weigher):
    def keep(plain):
        nights = phases(plain, "sleep")
        for phase in nights[1:]:
            phase["ledger"]["state_digest"] = nights[0]["ledger"]["state_digest"]
            phase |= {"train_tokens": 0, "flops": 0.0}

    content, board = weigher
    assert verify(edited(content, keep), board).ok


def test_text_in_names_of_empty_files_counts(tmp_path):
    content, _ = board_files.packed("Namer", tmp_path, "100")
    ledgers = [phase.ledger for phase in parse(content).runs[0].phases if phase.ledger]
    assert ledgers[-1].state_text_bytes > 50
    tight = board_files.write_board(tmp_path, ROOMY.replace("text = 100", "text = 10"))
    with pytest.raises(NotReady, match="budget: class numbers: seed 100: state_text_bytes"):
        board_files.pack([tmp_path / "runs"], tight, board_files.write_card(tmp_path))


def test_names_count_in_a_rerun_whatever_the_first_schema_said(tmp_path):
    def count_no_names(plain):
        for phase in phases(plain, "sleep"):
            phase["ledger"] |= {"state_bytes": 0, "state_text_bytes": 0}

    content, board = board_files.packed("Namer", tmp_path, "100")
    forged = edited(content, count_no_names)
    assert verify(forged, board).ok
    run = parse(forged).runs[0]
    problems = compare(run, 1, replay_night(run, 1, board), board).problems
    assert [problem.split(" is ")[0] for problem in problems] == ["state_bytes", "state_text_bytes"]


def test_an_answer_that_is_equal_to_everything_is_a_text(tmp_path):
    content, board = board_files.packed("Agreeable", tmp_path, "100")
    answers = [answer for phase in parse(content).runs[0].phases for answer in phase.answers]
    assert {a.score for a in answers if a.text == "whatever you like"} == {0.0}
    assert verify(content, board).ok


BOARDS = [board for board in load_boards() if not board.superseded_by and board.name in floors()]


@pytest.mark.parametrize("board", BOARDS, ids=[board.name for board in BOARDS])
def test_exams_do_not_answer_themselves(board):
    floor = floors()[board.name]
    assert floor.added <= MOST_ADDED
    chance = floor.frozen or (0.01, 0.01)  # boards without a model: SQuAD, one of 150 classes
    for found, least in zip(floor.exam_only, chance, strict=True):
        assert found <= least + MOST_ADDED


def test_the_floor_of_every_board_but_a_superseded_one_is_known():
    assert {board.name for board in load_boards()} - floors().keys() == {"lifelong-256"}
    assert floors()["almanac-8"].added > 0.2

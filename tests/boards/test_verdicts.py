"""What a verdict says beside yes and no."""

import json

import pytest

import board_files
import tampering
from board_files import edited, phases
from checkout import ROOT
from sleepgym_boards.verification.verdict import Mark, Verdict
from sleepgym_boards.verification.verifier import verify


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"))


def test_problems_say_what_and_where(honest):
    content, board = honest

    def problem(change):
        verdict = verify(edited(content, change), board)
        return next(rule.problems[0] for rule in verdict.rules if rule.problems)

    assert problem(tampering.raise_a_score).startswith("seed 100, morning after night 0, 'd")
    assert problem(tampering.raise_a_score).endswith(": 0, not 1")
    assert "no run of seed 102" in problem(tampering.leave_out_a_seed)
    assert "days is 2, the board's is 3" in problem(tampering.shorten_the_stream)
    assert "seeds 100 and 101 differ in rate" in problem(tampering.tune_by_seed)
    assert "1 questions without an answer, 'd" in problem(tampering.drop_a_hard_question)
    assert "ends before the morning after night 3" in problem(tampering.end_early)
    assert problem(tampering.exceed_the_state) == (
        "class numbers: seed 100: state_text_bytes of 55 a day, at most 5 (and 4 more)"
    )


def test_a_budget_is_the_first_class_that_all_nights_keep_to(honest):
    content, board = honest

    def keep_numbers(plain):
        for run in range(5):
            for phase in phases(plain, "sleep", run):
                kept = {"state_weights_bytes": 6000, "state_keys_bytes": 0}
                phase["ledger"] |= kept | {"state_text_bytes": 15, "state_bytes": 6015}

    assert verify(content, board).results.budget_class == "notes"
    assert verify(edited(content, keep_numbers), board).results.budget_class == "numbers"


def test_a_verdict_that_holds_a_rerun_says_how_many_nights_and_where(honest):
    content, board = honest
    assert verify(content, board).mark == Mark(name="recomputed")
    mark = verify(content, board, reruns=1).mark
    assert (mark.name, mark.reruns.pairs, mark.reruns.of) == ("re-run", 1, 15)
    assert mark.reruns.isolation in ("process", "sandbox")
    assert verify(edited(content, tampering.change_an_answer), board).mark.name == "recomputed"
    assert verify(edited(content, tampering.raise_a_score), board).mark is None


@pytest.mark.slow
def test_a_changed_answer_loses_its_mark_in_a_rerun_of_all_nights(honest):
    content, board = honest
    forged = edited(content, tampering.change_an_answer)
    assert verify(forged, board, reruns=15).mark is None  # all nights: it may be any of them


def test_a_verdict_is_written_small_enough_to_read_and_compare(honest):
    content, board = honest
    verdict = verify(content, board)
    text = verdict.to_text()
    assert json.loads(text) == verdict.model_dump(mode="json")
    assert Verdict.model_validate_json(text) == verdict
    lines = text.splitlines()
    for rule in verdict.rules:  # a line a rule
        assert sum(line.startswith(f'  {{"rule": "{rule.rule}"') for line in lines) == 1
    for row in (
        '   {"seed": 104, ',
        '   {"night": 3, ',
        '  "mean": {"average_accuracy": ',
        '  "mat',
    ):
        assert sum(line.startswith(row) for line in lines) == 1, row
    assert len(lines) < 80


def test_committed_verdicts_are_written_that_way():
    files = sorted((ROOT / "leaderboards" / "submissions").glob("*/*.verdict.json"))
    texts = [file.read_text() for file in files]
    assert len(texts) >= 90
    for file, text in zip(files, texts, strict=True):
        assert Verdict.model_validate_json(text).to_text() == text, file
    assert sum(text.count("\n") for text in texts) < 100 * len(texts)

"""Records that were tampered with: each is refused by the rule that is named here."""

import pytest

import board_files
from board_files import broken, edited
from sleepgym_boards.verification.verifier import verify
from tampering import (
    answer_an_old_board,
    answer_another_board,
    answer_out_of_order,
    answer_twice,
    ask_in_other_words,
    change_an_answer,
    change_the_stream_hash,
    copy_the_key,
    count_a_seed_twice,
    drop_a_hard_question,
    drop_a_phase,
    drop_a_whole_exam,
    end_early,
    exceed_the_budget,
    exceed_the_state,
    go_on_for_ever,
    have_no_ledger,
    hide_text_from_the_kinds,
    keep_the_context,
    leave_out_a_seed,
    raise_a_score,
    raise_all_scores_of_a_seed,
    repeat_an_easy_question,
    shop_for_a_seed,
    shorten_the_stream,
    space_the_exams,
    swap_streams,
    take_another_agent_for_a_seed,
    tune_by_seed,
    tune_on_ranked_seeds,
    use,
    work_for_nothing,
    work_in_no_time,
)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"))


CASES = {
    copy_the_key: "unseen",
    raise_a_score: "grades",
    raise_all_scores_of_a_seed: "grades",
    swap_streams: "stream",
    change_the_stream_hash: "stream",
    drop_a_hard_question: "coverage",
    drop_a_whole_exam: "coverage",
    drop_a_phase: "coverage",
    end_early: "coverage",
    go_on_for_ever: "coverage",
    repeat_an_easy_question: "coverage",
    answer_twice: "coverage",
    answer_out_of_order: "coverage",
    ask_in_other_words: "coverage",
    shop_for_a_seed: "seeds",
    leave_out_a_seed: "seeds",
    count_a_seed_twice: "seeds",
    tune_by_seed: "one-method",
    take_another_agent_for_a_seed: "one-method",
    shorten_the_stream: "environment",
    space_the_exams: "environment",
    keep_the_context: "audit",
    work_for_nothing: "ledger",
    work_in_no_time: "ledger",
    hide_text_from_the_kinds: "ledger",
    have_no_ledger: "ledger",
    exceed_the_budget: "budget",
    exceed_the_state: "budget",
    tune_on_ranked_seeds: "card",
    answer_another_board: "board",
    answer_an_old_board: "board",
}


@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_a_change_is_refused_by_its_rule(honest, change):
    content, board = honest
    verdict = verify(edited(content, change), board)
    assert broken(verdict)[0] == CASES[change]
    assert verdict.results is None
    also = {swap_streams: ["coverage"]}.get(change, [])
    assert broken(verdict)[1:] == also


@pytest.mark.parametrize(
    ("model", "own", "rules"),
    [
        ("embedded", True, []),
        (None, False, []),
        ("embedded", False, ["base-model"]),
        ("meta/llama", False, ["base-model"]),
        ("meta/llama", True, ["base-model"]),
    ],
)
def test_another_base_model_is_refused(honest, tmp_path, model, own, rules):
    text = 'base_model = "sleepgym-base"\n' + board_files.BOARD
    board = board_files.write_board(tmp_path, text)
    digest = board.base_model.digest if own else "0" * 64
    assert broken(verify(edited(honest[0], use(model, digest)), board)) == rules


@pytest.mark.parametrize("counter", ["read_tokens", "generated_tokens"])
def test_a_model_that_is_not_named_shows_where_it_reads(honest, tmp_path, counter):
    text = 'base_model = "sleepgym-base"\n' + board_files.BOARD
    board = board_files.write_board(tmp_path, text)

    def read(plain):
        for run in plain["runs"]:
            run["phases"][0][counter] += 500
            run["phases"][0]["flops"] += 1e6

    verdict = verify(edited(honest[0], read), board)
    assert broken(verdict) == ["base-model"]
    said = next(rule.problems[0] for rule in verdict.rules if rule.problems)
    assert said == "seed 100: no model is named, and one read 500 tokens"


@pytest.mark.parametrize("change", [change_an_answer, raise_a_score, work_for_nothing])
def test_a_change_without_a_new_digest_is_refused_at_once(honest, change):
    content, board = honest
    assert "digest" in broken(verify(edited(content, change, sign=False), board))


def test_an_answer_changed_with_its_digest_waits_for_a_rerun(honest):
    content, board = honest
    assert verify(edited(content, change_an_answer), board).ok


def test_an_honest_file_breaks_no_rule(honest):
    content, board = honest
    verdict = verify(content, board)
    assert broken(verdict) == []
    assert all(rule.ok for rule in verdict.rules)

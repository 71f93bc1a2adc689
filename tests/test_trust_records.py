"""Records that were tampered with: each is refused by the rule that is named here."""

import copy

import pytest

import board_files
from board_files import broken, edited, phases
from sleepgym import make_env
from sleepgym_boards.verification import verify


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return board_files.packed("Honest", tmp_path_factory.mktemp("honest"))


def copy_the_key(plain):
    """Every answer is the accepted one."""
    for run in plain["runs"]:
        env = make_env("toy:Toy", days=3, facts=2)
        env.reset(seed=run["seed"])
        for phase in run["phases"]:
            for answer in phase["answers"]:
                answer |= {"text": env.stream.key[answer["id"]][0], "score": 1.0}


def raise_a_score(plain):
    answers = phases(plain, "morning")[0]["answers"]
    next(answer for answer in answers if answer["score"] == 0.0)["score"] = 1.0


def raise_all_scores_of_a_seed(plain):
    for phase in plain["runs"][1]["phases"]:
        for answer in phase["answers"]:
            answer["score"] = 1.0


def change_an_answer(plain):
    phases(plain, "evening")[0]["answers"][0] |= {"text": "elsewhere", "score": 0.0}


def swap_streams(plain):
    """The run of one seed passes for that of another."""
    easy = copy.deepcopy(plain["runs"][0])
    plain["runs"][3] = easy | {"seed": 103}


def change_the_stream_hash(plain):
    plain["runs"][0]["stream_hash"] = "0" * 64


def drop_a_hard_question(plain):
    del phases(plain, "morning")[1]["answers"][0]


def drop_a_whole_exam(plain):
    phases(plain, "morning")[-1]["answers"].clear()


def drop_a_phase(plain):
    del plain["runs"][0]["phases"][3]


def end_early(plain):
    del plain["runs"][0]["phases"][-1]


def go_on_for_ever(plain):
    plain["runs"][0]["phases"].append(plain["runs"][0]["phases"][0])


def repeat_an_easy_question(plain):
    answers = phases(plain, "morning")[-1]["answers"]
    answers[0] = answers[1]


def answer_twice(plain):
    answers = phases(plain, "morning")[-1]["answers"]
    answers.append(answers[1])


def answer_out_of_order(plain):
    phases(plain, "morning")[-1]["answers"].reverse()


def ask_in_other_words(plain):
    phases(plain, "evening")[0]["answers"][0]["prompt"] = "0" * 16


def shop_for_a_seed(plain):
    plain["runs"][4]["seed"] = 117


def leave_out_a_seed(plain):
    del plain["runs"][2]


def count_a_seed_twice(plain):
    plain["runs"].append(plain["runs"][4])


def tune_by_seed(plain):
    plain["runs"][1]["method"]["settings"] = {"rate": 0.5}


def take_another_agent_for_a_seed(plain):
    plain["runs"][1]["method"]["agent"] = "board_agents:Twin"


def shorten_the_stream(plain):
    for run in plain["runs"]:
        run["environment"]["settings"]["days"] = 2


def space_the_exams(plain):
    for run in plain["runs"]:
        run["environment"]["exams"] = "spaced"


def keep_the_context(plain):
    for run in plain["runs"]:
        run["method"]["audit"] = "off"


def work_for_nothing(plain):
    for phase in phases(plain, "sleep"):
        phase["flops"] = 0.0


def work_in_no_time(plain):
    for phase in phases(plain, "sleep"):
        phase |= {"seconds": 0.0, "flops": 2e12}


def hide_text_from_the_kinds(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"]["state_text_bytes"] = 0


def have_no_ledger(plain):
    phases(plain, "sleep")[0]["ledger"] = None


def exceed_the_budget(plain):
    for phase in phases(plain, "sleep", run=2):
        phase |= {"flops": 2e9, "seconds": 1.0}


def exceed_the_state(plain):
    """By night, in the middle of the run; on the last morning it is small again."""
    ledger = phases(plain, "sleep", run=2)[1]["ledger"]
    ledger |= {"state_text_bytes": 400, "state_bytes": 400}


def tune_on_ranked_seeds(plain):
    plain["card"]["tuning_seeds"] = "0-99,104-110"


def answer_another_board(plain):
    plain["board"] = "almanac-8"


def answer_an_old_board(plain):
    plain["board_version"] = 1


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


def use(model, digest):
    def change(plain):
        for run in plain["runs"]:
            run["method"] |= {"model": model, "model_digest": digest}

    return change


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

"""Agents that cheat: caught by the runner, by the budget, or by living a night again."""

import copy
import hashlib
import json
from dataclasses import replace

import pytest

import board_agents
import board_files
from board_files import broken, edited, phases
from sleepgym import make_env
from sleepgym.core.errors import AgentError, UnknownName
from sleepgym_boards.packing import NotReady
from sleepgym_boards.submission.files import parse
from sleepgym_boards.verification import rerun as rerun_module
from sleepgym_boards.verification.replay_night import phase_limit_s, replay_night
from sleepgym_boards.verification.rerun import (
    SCORE_TOLERANCE,
    Comparison,
    compare,
    draw,
    overclaimed,
    score_tolerance,
)
from sleepgym_boards.verification.verifier import verify
from tampering import use


def packed(agent, folder):
    """A submission of one seed, and its board."""
    return board_files.packed(agent, folder, "100")


def again(content, board, lived=None):
    """What is wrong with the second night when it is lived again, and if its state is the same."""
    run = parse(content).runs[0]
    compared = compare(run, 2, lived or replay_night(run, 2, board), board)
    return compared.problems, compared.same


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return packed("Honest", tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def lived(honest):
    content, board = honest
    return replay_night(parse(content).runs[0], 2, board)


def test_an_honest_agent_does_it_again(honest, lived):
    assert again(*honest, lived) == ([], True)


@pytest.mark.parametrize("agent", ["Spy", "Collector"])
def test_reading_the_key_through_python_finds_none(tmp_path, agent):
    content, board = packed(agent, tmp_path)
    verdict = verify(content, board)
    assert verdict.ok  # it knows only what was taught: its answers alone do not betray it
    assert verdict.results.mean["average_accuracy"] == 1.0
    problems, same = again(content, board)
    assert same
    assert problems == [
        "2 of 2 answers of the evening are others",
        f"{4 + (agent == 'Spy')} of 7 answers of the morning are others",
    ]


def test_making_the_stream_from_the_seed_finds_no_task(tmp_path):
    content, board = packed("Rebuilder", tmp_path)
    assert verify(content, board).ok
    with pytest.raises(AgentError, match="no module 'toy'"):
        again(content, board)


def test_text_hidden_outside_the_state_is_gone(tmp_path):
    content, board = packed("Hider", tmp_path)
    assert verify(content, board).ok
    verdict = verify(content, board, reruns=1)
    assert broken(verdict) == ["rerun"]
    assert verdict.rules[-1].note.startswith("1 of 3 nights: seed 100 night ")
    problems = " ".join(verdict.rules[-1].problems)
    assert "answers of the morning are others" in problems
    assert verdict.results is None


def test_text_hidden_in_padding_counts_as_text(tmp_path):
    roomy = board_files.BOARD.replace("weights = 2000", "weights = 50000")
    board = board_files.write_board(tmp_path, roomy.replace("text = 100", "text = 30"))
    runs = board_files.make_runs("Padder", tmp_path / "runs")
    with pytest.raises(NotReady) as caught:
        board_files.pack([runs], board, board_files.write_card(tmp_path))
    assert len(caught.value.missing) == 2
    assert caught.value.missing[0].startswith("budget: class numbers: seed 100: state_text_bytes")


def test_learning_during_an_exam_changes_nothing(tmp_path, honest):
    content, board = packed("Crammer", tmp_path)
    ours, theirs = (parse(file).runs[0] for file in (content, honest[0]))
    assert [[a.text for a in p.answers] for p in ours.phases] == [
        [a.text for a in p.answers] for p in theirs.phases
    ]
    digests = [[p.ledger.state_digest for p in r.phases if p.ledger] for r in (ours, theirs)]
    assert digests[0] == digests[1]
    assert again(content, board) == ([], True)


def claim_the_key(plain):
    """What was taught is answered rightly from then on, whatever the agent said."""
    perfect = copy.deepcopy(claim_the_key.perfect)
    for mine, ideal in zip(plain["runs"], perfect["runs"], strict=True):
        for phase, other in zip(mine["phases"], ideal["phases"], strict=True):
            phase["answers"] = other["answers"]


def test_answers_copied_from_the_key_where_they_could_be_known(tmp_path, honest):
    content, board = packed("Ignorant", tmp_path)
    claim_the_key.perfect = parse(honest[0]).model_dump()
    forged = edited(content, claim_the_key)
    assert verify(forged, board).results.mean["average_accuracy"] == 1.0
    assert "others" in again(forged, board)[0][0]
    claimed = edited(forged, claim_a_gpu)  # so that answers are compared by their scores
    assert "the morning scores 0.14, not 0.71" in " ".join(again(claimed, board)[0])


def claim_a_gpu(plain):
    for run in plain["runs"]:
        for phase in run["phases"]:
            phase["gpu_seconds"] = 4.0


def change_answers(plain):
    for phase in phases(plain, "morning"):
        phase["answers"][-1] |= {"text": "nowhere", "score": 0.0}


def report_less_work(plain):
    for phase in phases(plain, "sleep"):
        phase |= {"flops": 1.0, "train_tokens": 1}


def report_less_state(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"] |= {"state_bytes": 10, "state_text_bytes": 10}


def report_another_state(plain):
    for phase in phases(plain, "sleep"):
        phase["ledger"]["state_digest"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_answers, "1 of 7 answers of the morning are others"),
        (report_less_work, "train_tokens is 5, not 1"),
        (report_less_state, "state_bytes is 118, not 10"),
    ],
)
def test_what_is_said_otherwise_than_it_was_comes_out(honest, lived, change, says):
    content, board = honest
    forged = edited(content, change)
    assert verify(forged, board).ok
    problems, same = again(forged, board, lived)
    assert same
    assert says in problems


def test_where_the_state_is_another_scores_and_costs_must_be_alike(honest, lived):
    content, board = honest
    elsewhere = edited(content, report_another_state)
    assert again(elsewhere, board, lived) == ([], False)

    def cheat(plain):
        report_another_state(plain)
        report_less_work(plain)
        for phase in phases(plain, "morning"):
            for answer in phase["answers"]:
                answer |= {"text": "nowhere", "score": 0.0}

    problems, same = again(edited(content, cheat), board, lived)
    assert not same
    assert problems == [
        "train_tokens is 5, not 1",
        "flops is 5000, not 1",
        "the morning scores 0.71, not 0.00",
    ]


def test_scores_of_a_short_exam_may_differ_by_chance_and_those_of_a_long_one_may_not():
    assert score_tolerance(0.42, 0.62, 24) == pytest.approx(2 * (2 * 0.52 * 0.48 / 24) ** 0.5)
    assert score_tolerance(0.42, 0.62, 250) == SCORE_TOLERANCE
    assert score_tolerance(1.0, 1.0, 4) == score_tolerance(0.0, 0.0, 0) == SCORE_TOLERANCE


def test_a_claim_a_little_too_high_everywhere_is_found_where_luck_is_not(honest, lived):
    content, board = honest
    run = parse(edited(content, report_another_state)).runs[0]
    assert compare(run, 2, lived, board).surplus == (0.0,) * 9
    assert compare(parse(content).runs[0], 2, lived, board).surplus == ()
    nights, questions = 2, 250
    cheat = [1.0] * 20 + [0.0] * (questions - 20)  # each exam claims .08 more
    assert score_tolerance(0.58, 0.5, questions) >= 0.08
    (problem,) = overclaimed(cheat * nights)
    assert problem.startswith("of 500 answers 40 were better when they were recorded and 0 are")
    assert overclaimed([1.0] * 24 + [-1.0] * 20 + [0.0] * 456) == []  # another processor
    assert overclaimed([-value for value in cheat]) == []  # whoever claims too little gains nothing
    most = next(k for k in range(500) if overclaimed([1.0] * (k + 1)))
    assert most / (nights * questions) <= 0.02  # for an agent whose answers do not change


def test_two_drawn_nights_hold_a_last_one(honest):
    runs = parse(honest[0]).runs * 2
    for count in (2, 3, 6, 9):
        drawn = draw(runs, count)
        assert len(drawn) == min(count, 6)
        assert 3 in [night for _, night in drawn]
    assert len(draw(runs, 1)) == 1


def test_what_is_heard_in_an_exam_reaches_no_night_of_a_rerun(tmp_path, monkeypatch):
    drop = board_agents.Listener.drop
    level = "sleepgym_boards.verification.replay_night.strictest_isolation"
    monkeypatch.setattr(level, lambda: "process")  # where it has a way to itself
    drop.unlink(missing_ok=True)
    content, board = board_files.packed("Listener", tmp_path, "100", isolation="process")
    drop.unlink()
    assert verify(content, board).results.mean["average_accuracy"] == 1.0
    problems, _ = again(content, board)
    drop.unlink()
    assert any(problem.startswith("the morning scores 0.00, not") for problem in problems)


def test_work_done_beside_the_night_is_counted_in_a_rerun(tmp_path):
    content, board = packed("Reader", tmp_path)
    run = parse(content).runs[0]
    lived = replay_night(run, 2, board)
    assert again(content, board, lived) == ([], True)

    def work_asleep_alone(plain):
        for phase in phases(plain, "sleep"):
            names = ("setup_train_tokens", "setup_flops")
            phase["ledger"] |= dict.fromkeys(names, 0) | {"setup_flops": 0.0}

    forged = edited(content, work_asleep_alone)
    assert verify(forged, board).ok
    problems, same = again(forged, board, lived)
    assert same
    assert problems == [
        "setup_train_tokens is 500, not 0",
        "setup_flops is 1200, not 0",
    ]


def test_an_agent_that_never_ends_a_night_stops_no_rerun(honest, monkeypatch):
    content, board = honest
    run = parse(content).runs[0]
    assert 600 < phase_limit_s(run) < 2000
    hanging = run.model_copy(
        update={"method": run.method.model_copy(update={"agent": "strangers:Hanger"})}
    )
    endless = [phase.model_copy(update={"seconds": 1e8}) for phase in run.phases]
    assert phase_limit_s(run.model_copy(update={"phases": endless})) == 86_400
    with monkeypatch.context() as patched:
        patched.setattr("sleepgym_boards.verification.replay_night.NIGHT_S", 3.0)
        with pytest.raises(AgentError, match=r"did not answer within|at most 3 s"):
            replay_night(hanging, 2, board)
    monkeypatch.setattr("sleepgym_boards.verification.replay_night.phase_limit_s", lambda run: 2.0)
    with pytest.raises(AgentError, match="its process did not answer within 2 s"):
        replay_night(hanging, 2, board)


def test_all_phases_of_a_rerun_share_its_day(honest, monkeypatch):
    content, board = honest
    run = parse(content).runs[0]
    slow = [phase.model_copy(update={"seconds": 1.0, "setup_seconds": 7.0}) for phase in run.phases]
    assert phase_limit_s(run.model_copy(update={"phases": slow})) == 1400
    place = "sleepgym_boards.verification.replay_night"
    monkeypatch.setattr(f"{place}.phase_limit_s", lambda run: 1400.0)
    monkeypatch.setattr(f"{place}.NIGHT_S", 30.0)
    given = []

    def note(call, state, digest):
        given.append(call.limit_s)
        raise AgentError("noted")

    monkeypatch.setattr(f"{place}.ProcessInstance", note)
    with pytest.raises(AgentError, match="noted"):
        replay_night(run, 2, board)
    assert 0 < given[0] <= 30
    monkeypatch.setattr(f"{place}.NIGHT_S", 0.0)
    with pytest.raises(AgentError, match="a rerun of a night takes at most 0 s"):
        replay_night(run, 2, board)
    assert len(given) == 1


def test_a_gpus_answers_are_compared_by_their_scores_where_none_is_here(honest, lived):
    """A GPU reads a model in another precision: a tenth of the answers may be others."""
    run, board = parse(honest[0]).runs[0], honest[1]
    nights = [phase.model_copy(update={"gpu_seconds": 4.0}) for phase in run.phases]
    record = run.model_copy(update={"phases": nights})
    cost = {**lived.cost, "gpu_seconds": None}
    other = replace(lived, cost=cost, morning=(*lived.morning[:-1], "nowhere"))
    assert compare(run, 2, other, board).problems == ["1 of 7 answers of the morning are others"]
    found = compare(record, 2, other, board)
    assert found.same
    assert not any("are others" in problem for problem in found.problems)
    assert sum(found.surplus) == 1.0
    here = replace(other, cost={**cost, "gpu_seconds": 4.0})
    assert "are others" in compare(record, 2, here, board).problems[0]
    ignorant = replace(lived, cost=cost, morning=("nowhere",) * len(lived.morning))
    assert "the morning scores 0.00" in compare(record, 2, ignorant, board).problems[0]


def test_processor_time_is_measured_in_a_rerun(honest, lived):
    content, board = honest
    slow = replace(lived, cost={**lived.cost, "processor_seconds": 100.0})
    assert "processor_seconds is 100.0, not 0" in " ".join(again(content, board, slow)[0])


def test_seconds_of_a_gpu_are_compared_on_a_gpu_alone(honest, lived):
    run, board = parse(honest[0]).runs[0], honest[1]

    def recorded(gpu_s):
        nights = [phase.model_copy(update={"gpu_seconds": gpu_s}) for phase in run.phases]
        return run.model_copy(update={"phases": nights})

    slow = {**lived.cost, "seconds": 99.0, "setup_seconds": 99.0, "processor_seconds": 99.0}
    off, on = (replace(lived, cost={**slow, "gpu_seconds": busy_s}) for busy_s in (None, 5.0))
    idle = replace(lived, cost={**slow, "gpu_seconds": 0.0})
    late = ["seconds is 99.0", "processor_seconds is 99.0", "setup_seconds is 99.0"]
    for record, here, timed in (
        (recorded(None), off, True),
        (recorded(0.0), off, True),
        (recorded(4.0), on, True),
        (recorded(4.0), off, False),
        (recorded(4.0), idle, False),
    ):
        compared = compare(record, 2, here, board)
        assert [problem.split(",")[0] for problem in compared.problems] == late * timed
        assert compared.timed == timed
    dear = replace(off, cost={**off.cost, "train_tokens": 10**6})
    assert "train_tokens" in " ".join(compare(recorded(4.0), 2, dear, board).problems)

    limited = [budget.model_copy(update={"night_seconds": 60.0}) for budget in board.budgets]
    for record, strict in (
        (recorded(4.0), board.model_copy(update={"budgets": limited})),
        (recorded(4.0).model_copy(update={"limits": {"night_seconds": 60.0}}), board),
    ):
        assert compare(record, 2, off, strict).timed


def test_a_verdict_says_that_seconds_were_not_compared(honest, lived, monkeypatch):
    content, board = honest
    run = parse(content).runs[0]
    found = [Comparison([], timed=False), Comparison([]), Comparison([], timed=False)]
    monkeypatch.setattr(rerun_module, "_again", lambda *_: found.pop())
    problems, note = rerun_module.rerun([run], board, 3, None)
    assert problems == []
    assert note.endswith(
        "; seconds of 2 not compared: recorded on a GPU, executed here without one"
    )


def test_a_model_of_the_same_name_with_other_files_is_another(tmp_path):
    content, board = packed("Modelled", tmp_path)
    assert broken(verify(content, board, reruns=1)) == []
    forged = edited(content, use("embedded", "0" * 64))
    verdict = verify(forged, board, reruns=1)
    assert broken(verdict) == ["rerun"]
    assert "the files of model 'embedded' are others here" in verdict.rules[-1].problems[0]


def test_a_path_named_as_a_model_shows_a_rerun_nothing(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    env = make_env("toy:Toy", days=3, facts=2)
    env.reset(seed=100)
    key = {i.question.text: env.stream.key[i.id][0] for step in env.steps for i in step.items}
    (folder / "answers.json").write_text(json.dumps(key))
    content, board = board_files.packed("Mounted", tmp_path, "100", model=str(folder))
    assert verify(content, board).results.mean["average_accuracy"] == 1.0
    empty = hashlib.sha256().hexdigest()  # of a folder without a model's files
    for digest in (parse(content).runs[0].method.model_digest, empty, None):
        forged = edited(content, use(str(folder), digest))
        verdict = verify(forged, board, reruns=1)
        assert broken(verdict) == ["rerun"]
        assert "a path of this machine" in verdict.rules[-1].problems[0]


def test_a_rerun_tells_no_key_to_a_server_that_a_file_names(honest):
    content, board = honest
    forged = edited(content, use("openai:http://127.0.0.1:9/v1#thief", None))
    verdict = verify(forged, board, reruns=1)
    assert broken(verdict) == ["rerun"]
    assert "is behind a server" in verdict.rules[-1].problems[0]


def test_an_agent_that_is_not_installed_is_named(honest):
    content, board = honest

    def rename(plain):
        plain["runs"][0]["method"]["agent"] = "nowhere"

    with pytest.raises(UnknownName, match="unknown agent 'nowhere'"):
        again(edited(content, rename), board)


def test_nothing_of_a_submission_is_imported_here(honest, monkeypatch):
    content, board = honest

    def refuse(name):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("sleepgym.core.registry.agent_class", refuse)
    assert verify(content, board).ok
    run = parse(content).runs[0]
    assert compare(run, 2, replay_night(run, 2, board), board).same

"""The contract of a state that outlives the episode, and sessions that keep it."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from sleepgym.cli import run_command
from sleepgym.core.env import ContinualEnv, make_env
from sleepgym.core.types import Document, Experience, Introduction, Question
from sleepgym.interop.contract import BadRequest
from sleepgym.interop.playing import Learner
from sleepgym.interop.prompts import (
    introduction_prompt,
    night_prompt,
    numbered,
    parse_answers,
    phase_prompt,
)
from sleepgym.interop.session import Session
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.scores import score_run
from toy import Notes, Toy

SPEC = RunSpec("toy:Toy", "toy:Notes", {"days": 3}, seed=5)
A, B = ({"digest": letter * 64, "size_bytes": 3} for letter in "ab")


@pytest.fixture
def session():
    return Session(make_env("toy:Toy", days=3), 5)


def walk(session, act):
    while not session.ended:
        session.step(**act(session.observation()))
    return session.summary()


@pytest.mark.parametrize("agent", ["toy:Notes", "toy:Pupil"])
def test_an_agent_in_a_session_scores_as_in_a_run(session, tmp_path, agent):
    spec = replace(SPEC, agent=agent)
    record = run(spec, tmp_path / "run")
    states = tmp_path / "states"
    states.mkdir()
    learner = Learner(spec.make_agent, states)
    summary = walk(session, lambda seen: learner.act(json.loads(json.dumps(seen))))
    expected = score_run(record)
    for name, value in summary["scores"].items():
        if not name.endswith("seconds") and not name.startswith(("state_", "awake_")):
            assert value == pytest.approx(expected[name]), name
    assert summary["audit"]["clean"]
    digests = [summary["audit"]["handles"][str(night)]["digest"] for night in (1, 2, 3)]
    assert digests == [night["state_digest"] for night in record.nights]
    assert summary["scores"]["state_bytes"] == expected["state_bytes"]


def test_nothing_tells_of_seed_key_or_items(session):
    stream = session._env.stream
    gold = {answer for answers in stream.key.values() for answer in answers} - {"here", "warm"}
    taught, told = "", ""
    while not session.ended:
        seen = json.dumps(session.observation())
        if session.present.phase.name == "STUDY":
            taught += seen
        else:
            told += seen
        session.step(["?"] * len(session.present.items))
    assert all(answer in taught and answer not in told for answer in gold)
    told += json.dumps(session.summary())
    assert stream.content_hash not in told
    assert not any(f'"{item}"' in told for item in stream.key)
    assert '"seed"' not in told


def night_of(states, costs):
    """Acts that hand over these states, and answer mornings from them."""
    nights = iter(zip(states, costs, strict=True))
    kept = [None]

    def act(seen):
        if seen["phase"] == "sleep":
            kept[0], cost = next(nights)
            return {"state": kept[0], "night": cost}
        return {"answers": ["?"] * len(seen["questions"]), "state": kept[0]}

    return act


def test_the_audit_holds_what_breaks_the_contract(session):
    cost = {"train_tokens": 7}
    assert walk(session, night_of([A, A, B], [cost, None, cost]))["audit"]["clean"]
    env = make_env("toy:Toy", days=3, night_train_tokens=5)
    found = walk(Session(env, 5), night_of([A, B, None], [cost, None, None]))["audit"]
    assert found["findings"] == [
        "night 1 exceeded night_train_tokens",
        "night 2 changed the state and reports no cost",
        "night 3 names no state",
    ]
    other = Session(make_env("toy:Toy", days=1), 5)
    act = night_of([A], [cost])
    found = walk(other, lambda seen: {**act(seen), "state": B if seen["night"] else A})["audit"]
    line = "morning after night 1 answered from bbbbbbbbbbbb, handed over was aaaaaaaaaaaa"
    assert found["findings"] == [line]


@pytest.mark.parametrize(
    ("action", "line"),
    [
        ({"answers": "x"}, "answers='x': must be a list of strings"),
        ({"answers": {"a": 1}}, "must be a list of strings"),
        ({"answers": None}, "must be a list of strings"),
        ({"answers": [1]}, "answers: 1 is no string"),
        ({"answers": [None]}, "answers: None is no string"),
        ({"answers": []}, "answers: 0 to 7 questions"),
        ({"answers": ["x" * 100_001] * 7}, "100000 at most"),
        ({"answers": ["x"] * 7, "state": "s"}, "state='s': must be an object"),
        ({"answers": ["x"] * 7, "state": {"digest": "a", "size_bytes": 1}}, "64 hexadecimal"),
        ({"answers": ["x"] * 7, "state": {**A, "size_bytes": -1}}, "size_bytes=-1"),
        ({"answers": ["x"] * 7, "state": {**A, "size_bytes": True}}, "size_bytes=True"),
        ({"answers": ["x"] * 7, "night": 3}, "night=3: must be an object"),
        ({"answers": ["x"] * 7, "night": {"tokens": 3}}, "night.tokens: unknown"),
        ({"answers": ["x"] * 7, "night": {"flops": float("nan")}}, "must be a number from 0"),
        ({"answers": ["x"] * 7, "night": {}}, "reported in a SLEEP alone, this is morning"),
    ],
)
def test_a_wrong_shape_is_one_line_and_changes_nothing(session, action, line):
    before = session.observation()
    with pytest.raises(BadRequest, match=line) as caught:
        session.step(**action)
    assert "\n" not in str(caught.value)
    assert session.observation() == before
    session.step(["x"] * 7)
    assert session.step_count == 1


def test_a_session_ends_once(session):
    with pytest.raises(BadRequest, match="has not ended"):
        session.summary()
    walk(session, night_of([A, A, A], [None] * 3))
    with pytest.raises(BadRequest, match="has ended: reset"):
        session.step()
    assert session.observation()["phase"] == "ended"


def test_a_phase_is_a_prompt_and_a_reply_is_answers(session):
    rewards = []
    texts = []
    while not session.ended:
        step = session.present
        texts.append(phase_prompt(session.observation()))
        key = session._env.stream.key
        reply = numbered([key[item.id][0] for item in step.items])
        rewards.append(session.step(parse_answers(reply, len(step.items))))
    assert np.sum(rewards) == 7  # every exam of four mornings and three evenings
    assert "1. red? (one of: warm, cold)" in texts[2]
    assert texts[3].startswith("The right answers were:\n1. warm\n\nAnswer each question")
    assert texts[1].startswith("Person10\nPerson10 is in Town")


class Shown(Toy):
    """The toy with an introduction."""

    def stream(self, seed):
        shown = Experience((Document("Ann is in Rome.", "Ann"),), (Question("Ann?"),), ("Rome",))
        return replace(super().stream(seed), introduction=Introduction("One word.", (shown,)))


class Listener(Notes):
    """Says where Ann is, if it was told."""

    said = ""

    def introduce(self, introduction):
        self.said = introduction.exemplars[0].answers[0] + introduction.instruction

    def answer(self, questions):
        return [self.said] * len(questions)


def test_an_introduction_is_in_every_phase_and_told_to_every_instance(tmp_path):
    learner = Learner(Listener, tmp_path)
    session = Session(ContinualEnv(Shown()), 5)
    while not session.ended:
        seen = json.loads(json.dumps(session.observation()))
        assert introduction_prompt(seen) == (
            "One word.\n\nAnn is in Rome.\n\nQuestion: Ann?\nAnswer: Rome"
        )
        action = learner.act(seen)
        assert set(action["answers"]) <= {"RomeOne word."}
        session.step(**action)


def test_replies_are_read_leniently():
    assert parse_answers("Sure!\n1. a\n 2) b c \n**3:** d\n", 4) == ("a", "b c", "** d", "")
    assert parse_answers("Paris", 1) == ("Paris",)
    assert parse_answers("1. Paris", 1) == ("Paris",)
    assert parse_answers("", 2) == ("", "")
    assert "500 characters" in night_prompt(500)


def test_a_server_without_openenv_is_one_line(monkeypatch, capsys):
    loaded = [name for name in sys.modules if name.startswith("openenv.")]
    for name in ("openenv", *loaded):  # what is loaded would be found without its parent
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "sleepgym.interop.openenv_server", raising=False)
    assert run_command(["serve-env", "--env", "toy:Toy"]) == 2
    line = "sleepgym: openenv is not installed: pip install 'sleepgym[openenv]'\n"
    assert capsys.readouterr().err == line

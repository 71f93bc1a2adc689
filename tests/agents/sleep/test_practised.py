"""Nights about practice without documents: rules that questions name, classes, and bad days."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sleepers import make, night, nothing, replace_samples, sleep_context, state, wake
from sleepgym import Question
from sleepgym.core.errors import BadRun
from sleepgym.runs.state import sizes_by_kind
from sleepgym_agents.experts.checkpoint import load_memory
from sleepgym_agents.experts.content_answers import (
    question_states,
    route_by_content,
    token_sketch,
)
from sleepgym_agents.experts.content_router import TOKEN_NUMBERS
from sleepgym_agents.experts.practice_groups import consistent, named_groups
from sleepgym_agents.sleep.consolidation.practised import build_practice_data, recombined

RULES = [(f"zub: {x} q", f"q {x}") for x in "abcdef"] + [(f"mork: {x}", f"{x}!") for x in "vwxyz"]
LABELS = ("play music", "set alarm")
TUNES = ("play a song", "songs to play please", "a tune", "play the tunes", "song", "play tune")
ALARMS = ("wake me at six", "an alarm for 7", "wake me up", "alarm at 8", "wake at 9", "alarm")
CLASSES = [(text, LABELS[0]) for text in TUNES] + [(text, LABELS[1]) for text in ALARMS]


def practise(agent, pairs, choices=()):
    agent.practice([Question(q, choices) for q, _ in pairs], [a for _, a in pairs])


def a_night(agent, pairs, number=1, **limits):
    practise(agent, pairs, LABELS if pairs and pairs[0][1] in LABELS else ())
    return agent.sleep(night(agent, number, **limits))


def test_contradictory_demonstrations_are_left_out():
    pairs = [("a", "1"), ("b", "2"), ("a", "3"), ("b", "2"), ("c", "2")]
    assert consistent(pairs) == [("b", "2"), ("c", "2")]
    agent = make("seeding")
    log = a_night(agent, [("a", "1"), ("a", "3")])
    assert nothing(agent, log) == {"practised": 0, "contradictory": 2, "nothing_learned": 1}


def test_questions_are_grouped_by_the_word_that_names_their_rule():
    agent = make("seeding")
    groups = named_groups(agent.memory, RULES, 3.5)
    tokenizer = agent.lm.prompter.tokenizer
    assert {tokenizer.decode(group.name): len(group.pairs) for group in groups} == {
        "zub:": 6,
        "mork:": 5,
    }
    assert named_groups(agent.memory, [*RULES, ("what?", "that")], 3.5) == []  # it names nothing
    assert named_groups(agent.memory, RULES, 1e6) == []  # the bare model expects these words


def test_inputs_are_recombined_from_words_of_the_demonstrations():
    agent = make("seeding")
    context = sleep_context(agent.memory, agent.config)
    group = named_groups(agent.memory, RULES, 3.5)[0]
    rng = np.random.default_rng(0)
    found = recombined(context, group, 40, rng, ["zub: q q"])
    assert found == sorted(set(found))
    assert all(q.startswith("zub: ") and set(q[5:].split()) <= set("abcdefq") for q in found)
    assert not {"zub: q q", *(q for q, _ in RULES)} & set(found)


@pytest.fixture
def helped(monkeypatch):
    """A night whose expert passes its check."""
    shares = iter([0.0, 1.0] * 9)
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.practised.answered", lambda *_: next(shares)
    )


@pytest.mark.parametrize("name", ["seeding", pytest.param("sleep", marks=pytest.mark.slow)])
def test_rules_are_learned_by_an_expert_that_their_names_activate(name, helped, tmp_path):
    agent = make(name, on_policy_every=0)
    log = a_night(agent, RULES)
    assert log["groups"] == log["names"] == 2
    assert log["experts_unlocked"] == 1
    assert "rolled_back" not in log
    router = agent.memory.router
    assert router.entities_in(agent.lm.prompter.question("mork: b")) != []
    assert router.answers == []  # rules are no classes
    files = state(agent, tmp_path / "a")
    assert set(files) == {"memory.json", "experts.safetensors", "names.safetensors"}


@pytest.mark.parametrize("expansion", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_night_that_fails_its_check_is_rolled_back(expansion, helped, tmp_path, monkeypatch):
    agent = make("seeding", on_policy_every=0, expansion=expansion)
    a_night(agent, RULES)
    evening = state(agent, tmp_path / "a")
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.practised.build_practice_data", with_quiz
    )
    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.practised.answered", lambda *_: 0.5)
    log = a_night(agent, [(q.replace("zub", "gorp"), a) for q, a in RULES[:6]], 2)
    assert log["rolled_back"] == 1
    assert log["steps"] > 0
    after = state(agent, tmp_path / "b")
    assert after["experts.safetensors"] == evening["experts.safetensors"]
    assert agent.memory.router.entities_in(agent.lm.prompter.question("gorp: b")) == []


def with_quiz(context, groups):
    data, _ = build_practice_data(context, groups)
    return data, data.dreams[:1]


def test_classes_are_learned_as_gaussians_and_keep_no_text(tmp_path):
    agent = make("seeding")
    log = a_night(agent, CLASSES)
    assert log["classes"] == 2
    assert log["held_back"] == 2
    agent.memory.router.owners = [None, None]  # a random model may find an expert of use
    asked = [Question(text, LABELS) for text, _ in CLASSES]
    states = question_states(agent.memory, [q.text for q in asked])
    nearest = agent.memory.router.nearest(states, [0, 1]).tolist()
    assert agent.answer(asked) == [LABELS[at] for at in nearest]
    right = sum(a == label for a, (_, label) in zip(agent.answer(asked), CLASSES, strict=True))
    assert right >= 10
    files = state(agent, tmp_path / "a")
    assert not any(text.encode() in content for content in files.values() for text in TUNES[:4])
    assert sizes_by_kind(tmp_path / "a")["text"] < 250  # the answers, and names of tensors
    fresh = make("seeding")
    load_memory(fresh.memory, tmp_path / "a")
    assert fresh.answer(asked) == agent.answer(asked)
    assert state(fresh, tmp_path / "b") == files
    damaged = agent.memory.router.tensors()
    damaged["classes.answers"] = damaged["classes.answers"][:-5].clone()
    save_file(damaged, tmp_path / "a" / "names.safetensors")
    with pytest.raises(BadRun, match=r"classes\.answers"):
        load_memory(make("seeding").memory, tmp_path / "a")
    other = [Question("play a song", ("red", "blue")), Question("play a song")]
    assert [one.answer for one in route_by_content(agent.memory, other)] == [None, None]


def test_a_word_that_every_question_holds_tells_no_classes_apart():
    shared = [(f"zub {text}", label) for text, label in CLASSES]
    agent = make("seeding")
    (group,) = named_groups(agent.memory, shared, 3.5)
    assert len(group.pairs) == len(shared)
    log = a_night(agent, shared)
    assert log["classes"] == len(LABELS)
    assert "groups" not in log


def test_a_day_of_one_class(tmp_path):
    agent = make("seeding")
    log = a_night(agent, CLASSES[:6])
    assert log["classes"] == 1
    assert agent.answer([Question("anything", LABELS)]) == [LABELS[0]]


def test_bad_days_change_nothing_and_the_next_night_learns(monkeypatch, tmp_path):
    agent = make("seeding")
    a_night(agent, CLASSES[:4] + CLASSES[6:10])
    evening = state(agent, tmp_path / "evening")
    bad = ([], [(text, label) for text in TUNES for label in LABELS])  # nothing; contradictions
    for number, pairs in enumerate(bad, start=2):
        assert a_night(agent, pairs, number)["nothing_learned"] == 1
    with monkeypatch.context() as patch:  # states that cannot be told apart
        patch.setattr(
            "sleepgym_agents.sleep.consolidation.practised.question_states",
            lambda memory, texts, tokens: torch.ones(len(texts), 2 * memory.width + TOKEN_NUMBERS),
        )
        assert a_night(agent, CLASSES, 4)["nothing_learned"] == 1
    assert state(agent, tmp_path / "morning") == evening
    lights = [(text, "lamp") for text in ("dim the light", "lights off", "a light please")]
    assert a_night(agent, lights, 5)["classes"] == 1
    assert agent.memory.router.answers == [*LABELS, "lamp"]


def test_questions_with_answers_of_their_own_are_one_region(helped):
    agent = make("seeding", on_policy_every=0)
    pairs = [(f"{a}{b}{a}", f"{b}{a}") for a in "abc" for b in "xyz"]
    a_night(agent, pairs)
    near, far = Question("aya"), Question("Zürich? 7 8 9 §§§")
    routed = route_by_content(agent.memory, [near, far])
    assert [one.expert_id for one in routed] == [(0, 0), None]
    assert len(agent.answer([near, far])) == 2


def test_days_with_documents_are_as_with_the_router_of_names(monkeypatch, tmp_path):
    replace_samples(monkeypatch)
    agents = [make("sleep", router=router) for router in ("auto", "names")]
    for agent in agents:
        wake(agent)
    logs = [agent.sleep(night(agent)) for agent in agents]
    assert logs[0].pop("led_by_content") <= logs[0].pop("led_by_names")
    assert logs[0] == logs[1]
    assert state(agents[0], tmp_path / "a") == state(agents[1], tmp_path / "b")


def test_a_sketch_of_tokens_is_near_that_of_the_same_tokens():
    rows = [[5, 9, 700], [700, 5, 9, 9], [5, 9, 800], [30, 31, 32]]
    sketch = token_sketch(rows)
    assert sketch.shape == (4, TOKEN_NUMBERS)
    near = sketch @ sketch.T
    assert torch.equal(sketch[0], sketch[1])  # neither order nor repetition counts
    assert near[0, 2] == pytest.approx(2 / 3, abs=0.2)
    assert near[0, 3] == pytest.approx(0, abs=0.2)
    assert near.diagonal().tolist() == pytest.approx([1] * 4, abs=0.3)

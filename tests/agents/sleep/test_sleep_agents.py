import json
from unittest.mock import Mock

import pytest
import torch

from sleepers import (
    DREAMS,
    NAMES,
    PRACTICE,
    QUICK,
    a_night,
    make,
    night,
    nothing,
    replace_samples,
    state,
)
from sleepgym import Document, Question
from sleepgym.runs.records import TIMES, read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym_agents.experts.content_answers import route_by_content
from sleepgym_agents.lm.scoring import score_continuations


@pytest.fixture(autouse=True)
def _dreamt(monkeypatch):
    replace_samples(monkeypatch)


def likelihood(agent):
    prompter = agent.lm.prompter
    asked = [prompter.prompt(q) for q, _ in PRACTICE]
    found = score_continuations(agent.lm, asked, [prompter.answer(a) for _, a in PRACTICE])
    return sum(sum(scored.log_probabilities) for scored in found)


@pytest.mark.parametrize("name", NAMES)
def test_nights_teach_and_their_state_is_small(name, tmp_path):
    agent = make(name, epochs=20, on_policy_every=0)
    before, base = likelihood(agent), {n: p.clone() for n, p in agent.lm.model.named_parameters()}
    log = a_night(agent)
    assert log["experts_unlocked"] == 1
    assert log["names"] > 0
    assert agent.added_parameters == log["parameters_unlocked"] == 3 * 96 * 4
    if name != "dreaming":
        assert log["steps"] > 0
        assert likelihood(agent) > before + 1  # the day's text is gone
    if name != "seeding":
        assert 0 < log["dreams_rewarded"] <= log["dreams_tried"] <= 4
        assert log["dream_steps"] > 0
    assert agent.parts == []
    assert agent.practised == []
    files = state(agent, tmp_path / "a")
    assert set(files) == {"memory.json", "experts.safetensors", "names.safetensors"}
    assert json.loads(files["memory.json"]) == {"unlocked": [[0, 0]]}
    assert len(files["experts.safetensors"]) < 2 * agent.added_parameters + 500
    assert sum(map(len, files.values())) < 2 * agent.added_parameters + 1500
    assert not any(b"Oslo" in content or b"clocks" in content for content in files.values())
    for n, p in agent.lm.model.named_parameters():
        assert ".levels." in n or torch.equal(p, base[n])
    if name != "dreaming":
        log = a_night(agent, 2)
        assert (log["experts_unlocked"], log["experts_level_1"]) == (2, 2)
        assert agent.added_parameters == 2 * log["parameters_active"]


def test_what_follows_from_the_day_is_learned_as_documents(monkeypatch):
    asked, form = [], "implications"

    def parse(_, ids, wanted):
        asked.append(wanted)
        return ["Clocks are old in Oslo."]

    monkeypatch.setattr("sleepgym_agents.training.qa_generation.parse_texts", parse)
    read = {}
    for wanted in ("questions", form):
        agent = make("seeding", dream_form=wanted, on_policy_every=0, router="always", epochs=10)
        log = a_night(agent)
        assert log.get("statements", 0.0) == (wanted == form)  # the same line is learned once
        document = agent.lm.prompter.document(Document("Clocks are old in Oslo.", "Mira Tolwen"))
        start = agent.lm.prompter.start
        (scored,) = score_continuations(agent.lm, [[*start, document[0]]], [document[1:]])
        read[wanted] = sum(scored.log_probabilities)
    assert asked == [form] * 6
    assert read[form] > read["questions"] + 1


@pytest.mark.parametrize("name", ["dreaming", "sleep"])
def test_an_interrupted_run_gives_the_same_record(name, tmp_path):
    config = {**QUICK, **(DREAMS if name != "seeding" else {}), "windows": (2,), "epochs": 2}
    if name == "dreaming":  # what is replaced is not about the names of this stream
        config["router"] = "always"
    spec = RunSpec(
        "sleepgym/ClassIncremental-v0",
        name,
        {"dataset": "invented", "days": 2, "classes_per_day": 2, "train_per_class": 2}
        | {"tests_per_class": 1},
        agent_settings=config,
        seed=6,
        model="scratch",
    )

    class Interrupted(BaseException):
        pass

    def stop(done, *_):
        if done == 6:
            raise Interrupted

    run(spec, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "cut", progress=stop)
    run(spec, tmp_path / "cut")
    records = [read_run(tmp_path / folder) for folder in ("whole", "cut")]
    rows = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in [*r.nights, *r.phases]]
        for r in records
    ]
    assert rows[0] == rows[1]
    answers = [(tmp_path / f / "answers.jsonl").read_bytes() for f in ("whole", "cut")]
    assert answers[0] == answers[1]
    learned = {"steps", "dream_steps", "classes"}
    assert any(learned & night["log"].keys() for night in records[0].nights)


@pytest.mark.parametrize("name", NAMES)
def test_nights_that_change_nothing_say_so(name, tmp_path, monkeypatch):
    agent = make(name)
    a_night(agent)
    evening = state(agent, tmp_path / "evening")
    assert nothing(agent, agent.sleep(night(agent, 2))) == {"nothing_learned": 1.0}  # empty
    budgets = ({"night_generated_tokens": 3}, {"night_flops": 1}, {"added_parameters": 2000})
    for limits in budgets:
        assert nothing(agent, a_night(agent, 2, **limits)) == {"stopped_by_budget": 1.0}
    log = a_night(agent, 2, night_train_tokens=1)
    assert log["nothing_learned"] == 1.0
    assert log["experts_unlocked"] == 1
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
        patch.setattr("sleepgym_agents.sleep.dreaming.reward", lambda *a, **_: [1.0] * len(a[2]))
        log = a_night(agent, 2)
    assert log["nothing_learned"] == 1.0
    assert log.get("nan_loss", log.get("dream_nan_loss")) == 1.0
    assert state(agent, tmp_path / "morning") == evening
    assert agent.parts == []
    sceptic = make(name, confidence=1.0)
    sceptic.load(tmp_path / "evening")
    log = a_night(sceptic, 2)
    assert (log["dreams_kept"], log["nothing_learned"]) == (0, 1)
    assert state(sceptic, tmp_path / "sceptic") == evening


def test_without_expansion_one_expert_learns_on():
    agent = make("seeding", expansion=False)
    a_night(agent)
    first = [p.clone() for p in agent.memory.experts((0, 0))[0].parameters()]
    assert a_night(agent, 2)["experts_unlocked"] == 1
    after = agent.memory.experts((0, 0))[0].parameters()
    assert not any(torch.equal(p, q) for p, q in zip(first, after, strict=True))


def test_texts_are_routed_by_content_and_no_name_is_kept(tmp_path):
    agent = make("sleep", router="content", dream_focus=True, dream_answers="read", epochs=2)
    assert a_night(agent)["names"] == 0
    agent.study([Document("The Rhine rises in Graubuenden. It ends in Rotterdam.", "Rhine")])
    assert agent.sleep(night(agent, 2))["experts_unlocked"] == 2
    router = agent.memory.router
    assert router.table == {}
    assert router.owners == [(0, 0), (0, 0), (0, 1)]  # practice, and a text a day
    files = state(agent, tmp_path / "a")
    asked = [Question(q) for q, _ in PRACTICE]
    (own,) = {one.expert_id for one in route_by_content(agent.memory, asked)}
    assert own == (0, 0)
    again = make("sleep", router="content")
    again.load(tmp_path / "a")
    assert state(again, tmp_path / "b") == files
    assert again.answer(asked) == agent.answer(asked)


@pytest.mark.parametrize("on", [True, False])
def test_experts_are_active_while_the_text_is_open_where_that_is_asked_for(on):
    asked = [Question(q) for q, _ in PRACTICE]
    agent = make("seeding", epochs=20, on_policy_every=0, read_with_experts=on)
    untaught = make("seeding")
    a_night(agent)
    for one in (agent, untaught):
        one.study([Document("The Rhine rises in Graubuenden.", "Rhine")])
    assert (agent.answer(asked) == untaught.answer(asked)) is not on
    agent.forget()
    untaught.forget()
    assert agent.answer(asked) != untaught.answer(asked)  # with the text closed it knows


def test_texts_are_routed_by_content_where_names_lead_fewer_dreams_to_them(tmp_path):
    settings = {"on_policy_every": 0, "epochs": 1}
    nameless = make("seeding", **settings, min_entity_gain_nats=1e6)
    log = a_night(nameless)
    assert (log["led_by_names"], log["names"]) == (0, 0)
    assert log["led_by_content"] > 0
    asked = [Question(q) for q, _ in PRACTICE]
    assert {one.expert_id for one in route_by_content(nameless.memory, asked)} == {(0, 0)}
    files = state(nameless, tmp_path / "nameless")
    again = make("seeding", **settings)
    again.load(tmp_path / "nameless")
    assert again.memory.router.gaussians.part == nameless.memory.router.gaussians.part == 4
    assert state(again, tmp_path / "again") == files


def test_texts_without_dreams_or_of_equal_states_end_no_run(tmp_path, monkeypatch):
    settings = {"router": "content", "dream_focus": True, "epochs": 1, "on_policy_every": 0}
    sceptic = make("seeding", **settings, confidence=1.0)
    sceptic.study([Document("...", ""), Document("", "Rhine")])
    log = sceptic.sleep(night(sceptic))
    assert (log["dreams_kept"], log["nothing_learned"], log["experts_unlocked"]) == (0, 1, 0)
    assert state(sceptic, tmp_path / "nothing") == {}
    agent = make("seeding", **settings)
    width = agent.memory.router.gaussians.means.shape[1]
    for module in ("sleep.consolidation.practised", "experts.content_answers"):
        name = f"sleepgym_agents.{module}.question_states"
        monkeypatch.setattr(name, lambda _, texts, *__: torch.zeros(len(texts), width))
    for number in (1, 2):
        assert a_night(agent, number)["experts_unlocked"] == number
    assert len(agent.answer([Question("Where?"), Question("Who?")])) == 2


def test_switches(monkeypatch):
    both = a_night(make("sleep"))
    assert both["steps"] > 0
    assert both["dreams_sampled"] > 0
    assert "dreams_sampled" not in a_night(make("sleep", dreaming=False))
    assert "steps" not in a_night(make("sleep", seeding=False))
    assert a_night(make("sleep", seeding=False, dreaming=False))["nothing_learned"] == 1
    monkeypatch.setattr("sleepgym_agents.sleep.dreaming.reward", lambda *a, **_: [0.0] * len(a[2]))
    log = a_night(make("dreaming"))
    assert (log["dreams_rewarded"], log["nothing_learned"]) == (0, 1)
    assert log["experts_unlocked"] == 0


def test_a_random_expert_is_active_while_dreaming(monkeypatch):
    for wanted in (True, False):
        agent = make("dreaming", random_expert=wanted)
        force_active = Mock(wraps=agent.memory.force_active)
        monkeypatch.setattr(agent.memory, "force_active", force_active)
        a_night(agent)
        active = [call.args[0] for call in force_active.call_args_list]
        assert len(active) == (2 if wanted else 0)  # one a scene
        assert set(active) <= {(0, 0)}

"""Agents that keep text or nothing answer with a served model."""

import json

import pytest
import torch

from families import tiny
from model_server import LISTED, Server, TinyModel, said
from sleepgym import Document, Question
from sleepgym.cli import run_command
from sleepgym.core.errors import BadRun, BadSetting, EndpointError, UnknownName
from sleepgym.core.registry import agent_class
from sleepgym.core.settings import build_config
from sleepgym.core.types import Experience, Introduction
from sleepgym.runs.records import state_folder
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym_agents.endpoints import client as clients
from sleepgym_agents.endpoints.model import nearest
from sleepgym_agents.endpoints.turns import (
    DREAM,
    TurnPrompter,
    dream_messages,
    messages,
    plain,
)
from sleepgym_agents.lm.prompt_format import READ, PromptFormat
from sleepgym_agents.lm.scratch import byte_tokenizer

DOCUMENT = Document("Ben keeps forty bees.", "Ben")
LABELS = ("transfer", "trans", "weather", "translate")
COLOURS = ("amber", "black", "white", "green", "brown", "cream")
ASKED = [Question(f"Which {word} is it?", COLOURS) for word in ("", "a", "leaf", "cup", "house")]


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.001)


@pytest.fixture(scope="module")
def weights():
    return tiny("llama"), byte_tokenizer()


def make(name, model, **values):
    cls = agent_class(name)
    return cls(build_config(cls.Config, values, name), seed=3, model=model)


def expected_label(served, question):
    """By the plain forward pass, the whole of prompt and label at once."""
    shown = f"{DOCUMENT.title}\n{DOCUMENT.text}"
    before = [{"role": "user", "content": shown}, {"role": "assistant", "content": READ}]
    chat = served.chat == 2

    def score(label):
        if chat:
            text = served.turns(
                [
                    *before,
                    {"role": "user", "content": question.text},
                    {"role": "assistant", "content": label},
                ],
                False,
            )
        else:
            text = (
                f"{DOCUMENT.title}\n{DOCUMENT.text}\n\nQuestion: {question.text}\nAnswer: {label}\n"
            )
        ids = [1, *served.tokenizer.encode(text, add_special_tokens=False)]
        with torch.inference_mode():
            return sum(served.scores(ids))

    return max(question.choices, key=score)


@pytest.mark.parametrize(
    ("chat", "echo", "told"),
    [
        (2, False, ("chat", "chat")),
        (0, True, ("completions", "completions")),
        (1, True, ("chat", "completions")),
    ],
)
def test_choices_go_by_likelihood_where_the_server_tells_it(weights, chat, echo, told):
    served = TinyModel(*weights, chat, echo)
    with Server(served) as server:
        agent = make("in-context", server.model)
        agent.study([DOCUMENT])
        answers = agent.answer(ASKED)
        identity = agent.lm.identity
    assert answers == [expected_label(served, q) for q in ASKED]
    assert len(set(answers)) > 1
    assert (identity["prompts"], identity["choices"]) == told
    assert identity["listed"] == {"id": "tiny", "owned_by": "us", "root": "org/tiny"}
    assert agent.lm.max_tokens == 500


def test_without_likelihoods_the_reply_is_matched(weights):
    with Server(lambda *_: said("It is Brown.")) as server:
        agent = make("frozen", server.model)
        assert agent.answer(ASKED[:2]) == ["brown"] * 2
        shown = [body["messages"] for _, body, *_ in server.asked if "messages" in body]
        assert agent.lm.identity["choices"] == "text"
    contents = [messages[-1]["content"] for messages in shown]  # asked side by side, in any order
    content = next(text for text in contents if text.startswith(ASKED[1].text))
    assert content.endswith("\namber\nblack\nwhite\ngreen\nbrown\ncream")


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("translate", "translate"),
        ("**Translate**.", "translate"),
        ("wether", "weather"),
        ("The answer is trans", "trans"),
        ("  ", ""),
    ],
)
def test_the_nearest_choice(reply, choice):
    assert nearest(reply, LABELS) == choice


def test_tokens_are_charged_as_the_server_counts_them(caplog):
    counted = True

    def reply(route, body, number):
        status, headers, content = said("forty", read=11, generated=2)
        return status, headers, content if counted else {"choices": content["choices"]}

    with Server(reply) as server:
        agent = make("frozen", server.model)
        before = agent.meter.copy()
        agent.answer([Question("How many?"), Question("Who?")])
        assert agent.meter.since(before) == {
            "read_tokens": 22,
            "generated_tokens": 4,
            "train_tokens": 0,
            "flops": 0.0,
        }
        counted, before = False, agent.meter.copy()
        agent.answer([Question("How many?")])
        assert agent.meter.since(before)["read_tokens"] > 0
    assert "counts no tokens: they are estimated" in caplog.text


def test_answers_are_asked_for_without_chance_and_thoughts_dropped():
    with Server(lambda *_: said("<think>Well.</think>\n\nforty ")) as server:
        agent = make("in-context", server.model, max_answer_tokens=9)
        agent.study([DOCUMENT])
        agent.practice([Question("red?", ("warm", "cold"))], ["warm"])
        assert agent.answer([Question("How many bees?")]) == ["forty"]
        _, body, _ = server.asked[-1]
        again = make("in-context", server.model, max_answer_tokens=9)
        again.answer([Question("How many bees?")])
        assert server.asked[-1][1]["seed"] == body["seed"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0.0, 9)
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("user", "Ben\nBen keeps forty bees."),
        ("assistant", READ),
        ("user", "red?"),
        ("assistant", "warm"),
        ("user", "How many bees?"),
    ]


def test_sampled_answers_have_a_seed_for_each_time_that_a_question_is_asked():
    with Server(lambda *_: said("forty")) as server:
        agent = make("frozen", server.model, answer_temperature=0.7)
        agent.answer([Question("red?"), Question("red?"), Question("blue?")])
        bodies = [body for _, body, _ in server.asked[-3:]]
        agent.answer([Question("blue?"), Question("red?")])
        again = [body for _, body, _ in server.asked[-2:]]
    assert {body["temperature"] for body in bodies} == {0.7}
    seeds = {(body["messages"][-1]["content"], body["seed"]) for body in bodies}
    assert len({seed for _, seed in seeds}) == 3
    assert {(body["messages"][-1]["content"], body["seed"]) for body in again} <= seeds


def test_instruction_and_exemplars_are_earlier_turns():
    shown = Experience((Document("It rains.", "Oslo"),), (Question("Dry?"),), ("no",))
    told = Introduction("Be short.", (shown,))
    prompt = TurnPrompter().introduced(told, 100).prompt("Wet?")
    assert [(m["role"], m["content"]) for m in messages(prompt)] == [
        ("system", "Be short."),
        ("user", "Oslo\nIt rains."),
        ("assistant", READ),
        ("user", "Dry?"),
        ("assistant", "no"),
        ("user", "Wet?"),
    ]
    assert plain(prompt, PromptFormat()) == (
        "Be short.\n\nOslo\nIt rains.\n\nQuestion: Dry?\nAnswer: no\nQuestion: Wet?\nAnswer:"
    )
    dreaming = [m["content"] for m in dream_messages(prompt)]
    assert dreaming[3:5] == [DREAM, "Question: Dry?\nAnswer: no"]
    with pytest.raises(BadSetting, match=r"shots=1: .* take about \d+ tokens.*room for 9"):
        TurnPrompter().introduced(told, 9)


def test_a_server_whose_template_refuses_system_lines_gets_a_turn():
    def reply(route, body, number):
        if body.get("messages", [{"role": ""}])[0]["role"] == "system":
            return 400, {}, {"error": {"message": "System role not supported"}}
        return said("no")

    told = Introduction("Be short.")
    with Server(reply) as server:
        agent = make("frozen", server.model)
        agent.introduce(told)
        agent.answer([Question("Wet?")])
        turns = [(m["role"], m["content"]) for m in server.asked[-1][1]["messages"]]
    assert turns == [("user", "Be short."), ("assistant", "Understood."), ("user", "Wet?")]


@pytest.mark.parametrize(
    ("form", "route", "shown"),
    [
        ("template", "/chat/completions", None),
        ("plain", "/completions", "Ben\nBen keeps forty bees.\n\nQuestion: Wet?\nAnswer:"),
        (
            '{"start": "<s>", "question": "Q {text}\\nA"}',
            "/completions",
            "<s>Ben\nBen keeps forty bees.\n\nQ Wet?\nA",
        ),
    ],
)
def test_the_form_of_prompts_can_be_chosen(form, route, shown, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_PROMPT", form)
    with Server(lambda *_: said(" no\nQ More?")) as server:
        agent = make("in-context", server.model)
        agent.study([DOCUMENT])
        answers = agent.answer([Question("Wet?")])
        last, body, _ = server.asked[-1]
    assert (last, body.get("prompt")) == (route, shown)
    if shown:
        assert answers == ["no"]
        assert body["stop"] == ["\n"]


def test_what_does_not_fit_goes_oldest_first(weights):
    with Server(TinyModel(*weights, 1, False)) as server:
        agent = make("in-context", server.model, max_answer_tokens=8)
        for day in range(40):
            agent.study([Document(f"Day {day}: " + "it rains and rains. " * 4)])
        agent.answer([Question("When?")])
        content = "".join(m["content"] for m in server.asked[-1][1]["messages"])
    assert "Day 39:" in content
    assert "Day 0:" not in content
    assert len(content) < 4 * 250 + 100  # half of the window that the server names


def test_a_notebook_is_written_by_a_served_model(tmp_path):
    def reply(route, body, number):
        return said(
            "**Question:** Who keeps bees?\n**Answer:** Ben\n\nQuestion: How many?\nAnswer: 40"
        )

    with Server(reply) as server:
        spec = RunSpec("toy:Toy", "notebook", {"days": 1}, {"samples": 2}, model=server.model)
        run(spec, tmp_path / "run")
        seeds = [body["seed"] for _, body, _ in server.asked if body.get("temperature") == 1.0]
    assert len(set(seeds)) == 2
    notes = (state_folder(tmp_path / "run", 1) / "memory.jsonl").read_text()
    assert "Who keeps bees? Ben." in notes
    assert "How many? 40." in notes


def test_agents_that_need_weights_name_those_that_do_not(tmp_path, capsys):
    command = [
        "run",
        "--env",
        "toy:Toy",
        "--out",
        str(tmp_path / "run"),
        "--model",
        "openai:http://h#a",
    ]
    assert run_command([*command, "--agent", "naive"]) == 2
    said_last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "needs weights" in said_last
    assert said_last.endswith("one of the agents frozen, in-context, retrieval, notebook")
    assert run_command([*command, "--agent", "frozen", "--isolation", "sandbox"]) == 2
    assert "has no network" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_is_taken_up_where_the_server_went_down(tmp_path):
    broken = 14

    def reply(route, body, number):
        return (503, {}, b"") if number >= broken else said(str(len(json.dumps(body))))

    with Server(reply) as server:
        spec = RunSpec("toy:Toy", "retrieval", {"days": 2}, model=server.model)
        with pytest.raises(EndpointError, match=r"503.*the run goes on when it is resumed"):
            run(spec, tmp_path / "run")
        done = (tmp_path / "run" / "phases.jsonl").read_text()
        assert done
        broken = 10**9
        record = run(spec, tmp_path / "run")
        run(spec, tmp_path / "whole")
        assert (tmp_path / "run" / "phases.jsonl").read_text().startswith(done)
        assert record.finished
        for name in ("answers.jsonl", "run.json"):
            files = [(tmp_path / folder / name).read_bytes() for folder in ("run", "whole")]
            assert files[0] == files[1]
        meta = json.loads((tmp_path / "run" / "run.json").read_text())
        assert meta["served_model"]["listed"]["root"] == "org/tiny"
        assert meta["model_digest"] is None
        server.listed = {"data": [{**LISTED["data"][0], "root": "org/other"}]}
        with pytest.raises(BadRun, match="root is 'org/tiny' there and 'org/other' here"):
            run(spec, tmp_path / "run")


def test_an_unknown_name_leaves_no_folder(tmp_path):
    with Server(lambda *_: (404, {}, {"error": {"message": "no such model"}})) as server:
        spec = RunSpec("toy:Toy", "frozen", model=server.model + "y")
        with pytest.raises(UnknownName, match="'tinyy' is none of the models it lists: tiny"):
            run(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()

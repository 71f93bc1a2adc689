"""A real server, transformers' own, with a tiny model: its answers are the model's."""

import socket
import time
import urllib.request
import warnings

import pytest
import torch

from families import tiny
from sleepgym import Document, Question
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.lm.scratch import byte_tokenizer

pytest.importorskip("fastapi")
pytest.importorskip("openai")
pytest.importorskip("uvicorn")

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """``transformers serve`` on a folder, within this process; (model, tokenizer, ``--model``)."""
    from transformers.cli.serve import Serve

    folder = tmp_path_factory.mktemp("served")
    model, tokenizer = tiny("llama"), byte_tokenizer()
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = Serve(
            str(folder), host="127.0.0.1", port=port, device="cpu", dtype=None, non_blocking=True
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield model, tokenizer, f"openai:http://127.0.0.1:{port}/v1#{folder}"
        server.server.should_exit = True
        server._thread.join(10)


@pytest.mark.filterwarnings("ignore")
def test_answers_are_those_of_the_model_behind_the_server(served):
    model, tokenizer, name = served
    agent = InContext(InContextSettings(max_answer_tokens=8), model=name)
    assert agent.lm.identity["prompts"] == "chat"
    assert agent.lm.identity["choices"] == "text"
    agent.study([Document("Ben keeps forty bees.", "Ben")])
    before = agent.meter.copy()
    asked = ("How many bees?", "Who keeps them?")
    answers = agent.answer([Question(text) for text in asked])
    read = 0
    for text, answer in zip(asked, answers, strict=True):
        read_turns = "<user>Ben\nBen keeps forty bees.\n<assistant>I have read it.\n"
        content = f"{read_turns}<user>{text}\n<assistant>"
        ids = tokenizer.encode(content, add_special_tokens=False)
        read += len(ids)
        out = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)
        assert answer == tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True).strip()
    spent = agent.meter.since(before)
    assert spent["read_tokens"] == read
    assert 0 < spent["generated_tokens"] <= 16


@pytest.mark.filterwarnings("ignore")
def test_a_run_on_a_served_model(served, tmp_path):
    spec = RunSpec("toy:Toy", "retrieval", {"days": 1}, {"max_answer_tokens": 4}, model=served[2])
    record = run(spec, tmp_path / "run")
    assert record.finished
    assert record.meta["served_model"]["choices"] == "text"

"""A model with dropout: the same seed gives the same bytes, and global generators stay."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.registry import agent_class
from sleepgym.core.settings import build_config
from sleepgym_agents.lm.scratch import SPECIAL_TOKENS, byte_tokenizer

DOCUMENTS = (Document("Mira Tolwen was born in Oslo.", "Mira"), Document("Ben keeps bees.", "Ben"))
PRACTICE = ((Question("red?"), "warm"), (Question("blue?"), "cold"))
SETTINGS = {
    "epochs": 2,
    "samples": 2,
    "dream_tokens": 8,
    "group_size": 2,
    "batch_size": 1,
    "max_answer_tokens": 4,
}
AGENTS = ("naive", "context-distillation", "sdft", "grpo")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny GPT-2 whose every dropout is 0.1."""
    folder = tmp_path_factory.mktemp("gpt2")
    config = GPT2Config(
        vocab_size=len(SPECIAL_TOKENS) + 256,
        n_positions=512,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=SPECIAL_TOKENS.index("<bos>"),
        eos_token_id=SPECIAL_TOKENS.index("<end>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def make(name, model):
    cls = agent_class(name)
    known = cls.Config.__dataclass_fields__
    settings = {key: value for key, value in SETTINGS.items() if key in known}
    return cls(build_config(cls.Config, settings, name), seed=1, model=model)


def live_a_day(agent, number):
    agent.study(DOCUMENTS)
    agent.practice([question for question, _ in PRACTICE], [answer for _, answer in PRACTICE])
    return agent.sleep(Night(number, Budget(), 3, agent.meter))


def state(agent, folder):
    folder.mkdir()
    agent.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", AGENTS)
def test_one_seed_gives_the_same_bytes_also_when_stopped_and_resumed(name, model, tmp_path):
    agent = make(name, model)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    assert live_a_day(agent, 1)["steps"] > 0
    assert torch.equal(before, torch.random.get_rng_state())
    first = state(agent, tmp_path / "first")
    live_a_day(agent, 2)
    second = state(agent, tmp_path / "second")

    torch.manual_seed(12)  # another process has another global state
    again = make(name, model)
    live_a_day(again, 1)
    assert state(again, tmp_path / "again") == first
    resumed = make(name, model)
    resumed.load(tmp_path / "first")
    live_a_day(resumed, 2)
    assert state(resumed, tmp_path / "resumed") == second


def test_another_night_draws_another_dropout(model):
    from sleepgym_agents.lm.model import LanguageModel
    from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise

    logs = []
    for number in (1, 1, 2):
        lm = LanguageModel.load(model)
        example = Example.joined(((1, 7, 8, 9, 10), 1.0))
        night = Night(number, Budget(), 3, lm.meter)
        logs.append(optimise(lm, [[example]], TrainingSettings(), night)["loss"])
    assert logs[0] == logs[1] != logs[2]

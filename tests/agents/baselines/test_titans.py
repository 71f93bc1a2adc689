import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.other.neural_memory import NeuralMemory
from sleepgym_agents.baselines.other.titans import Titans, as_keys
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
OTHER = Document("Ben Arruda keeps forty bees.", "Ben Arruda")
QUESTION = [Question("Where was Mira Tolwen born?")]
QUICK = {"inner": 32, "max_answer_tokens": 8}


def make(**values):
    return Titans(build_config(Titans.Config, {**QUICK, **values}, "test"), seed=1, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 3, agent.meter)


def numbers(agent):
    return {name: p.clone() for name, p in agent.memory.named_parameters()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(p, two[n]) for n, p in one.items())


def small(inner=5):
    memory = NeuralMemory(4, inner, torch.Generator().manual_seed(0)).double()
    memory.weights[1].normal_(generator=torch.Generator().manual_seed(1))
    for part in memory.surprise:
        part.normal_(generator=torch.Generator().manual_seed(2))
    return memory


def pairs(tokens):
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(tokens, 4, dtype=torch.float64, generator=generator) for _ in range(2))


def gradients(first, last, key, value):
    """Of |W2 h - v|^2 with h = silu(W1 k) / sqrt(inner), by hand."""
    scale = len(first) ** -0.5
    a = first @ key
    gate = torch.sigmoid(a)
    h = a * gate * scale
    error = 2 * (last @ h - value)
    slope = (gate + a * gate * (1 - gate)) * scale
    return torch.outer((last.T @ error) * slope, key), torch.outer(error, h)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_a_chunk_is_the_recurrence_of_the_paper_token_by_token(chunk):
    rate, momentum, forgetting = 0.02, 0.8, 0.05
    memory = small()
    weights = [w.clone() for w in memory.weights]
    surprise = [s.clone() for s in memory.surprise]
    keys, values = pairs(7)
    for at in range(0, 7, chunk):
        begin = [w.clone() for w in weights]  # gradients are taken at the chunk's beginning
        for key, value in zip(keys[at : at + chunk], values[at : at + chunk], strict=True):
            for i, gradient in enumerate(gradients(*begin, key, value)):
                surprise[i] = momentum * surprise[i] - rate * gradient
                weights[i] = (1 - forgetting) * weights[i] + surprise[i]
        memory.write(keys[at : at + chunk], values[at : at + chunk], rate, momentum, forgetting)
    for mine, by_hand in zip([*memory.weights, *memory.surprise], weights + surprise, strict=True):
        torch.testing.assert_close(mine.detach(), by_hand)


def test_what_is_written_is_recalled_and_forgetting_takes_it_away():
    memory = NeuralMemory(4, 64, torch.Generator().manual_seed(0)).double()
    keys, values = pairs(3)
    assert not memory(keys).any()
    before = memory.write(keys, values, 0.1, 0.5, 0.0)
    torch.testing.assert_close(before, values.square().sum(-1))
    for _ in range(150):
        memory.write(keys, values, 0.1, 0.5, 0.0)
    assert memory.losses(keys, values).max() < 0.01
    for part in memory.surprise:
        part.zero_()
    old = [w.clone() for w in memory.weights]
    memory.write(keys, memory(keys), 0.1, 0.5, 0.25)  # no surprise: only what forgetting takes
    for weight, was in zip(memory.weights, old, strict=True):
        torch.testing.assert_close(weight.detach(), was * 0.75**3)


def test_an_empty_memory_adds_nothing_and_then_it_predicts_the_text():
    agent = make(rate=0.3, context_tokens=0, inner=256)
    ids = [*agent.lm.prompter.start, *agent.lm.prompter.document(DOCUMENT)]
    batch = torch.tensor([ids])
    bare = LanguageModel.load("scratch", seed=1)
    base = {n: p.clone() for n, p in named_weights(bare.model).items()}
    with torch.no_grad():
        before = bare.model(batch, labels=batch)
        assert torch.equal(before.logits, agent.lm.model(batch, labels=batch).logits)
    assert agent.added_parameters == 0
    surprise = []
    for number in range(1, 7):
        agent.study([DOCUMENT])
        surprise.append(agent.sleep(night(agent, number))["surprise"])
    assert surprise[-1] < surprise[0] / 2
    with torch.no_grad():
        assert agent.lm.model(batch, labels=batch).loss < before.loss - 0.5
    after = {n.replace(".mlp.block.", ".mlp."): p for n, p in named_weights(agent.lm.model).items()}
    assert all(torch.equal(after[n], p) for n, p in base.items())
    assert agent.added_parameters == 2 * 256 * 96


def test_keys_are_of_one_length_and_values_are_of_the_next_token():
    agent = make()
    ids = [*agent.lm.prompter.start, *agent.lm.prompter.document(DOCUMENT)]
    keys, values = agent.associations(ids)
    torch.testing.assert_close(keys.norm(dim=-1), torch.ones(len(ids) - 1))
    torch.testing.assert_close(as_keys(3 * keys), keys)
    head = agent.lm.model.get_output_embeddings().weight.detach()
    centred = torch.nn.functional.normalize(head - head.mean(0), dim=-1)
    torch.testing.assert_close(values, centred[ids[1:]])


def test_the_state_has_one_size_and_goes_on_where_it_was(tmp_path):
    agent = make()
    sizes = []
    for number, documents in enumerate(([DOCUMENT], [DOCUMENT, OTHER] * 5), 1):
        agent.study(documents)
        agent.sleep(night(agent, number))
        agent.save(tmp_path)
        sizes.append((tmp_path / "memory.safetensors").stat().st_size)
    assert sizes[0] == sizes[1]
    fresh = make()
    fresh.load(tmp_path)
    assert fresh.answer(QUESTION) == agent.answer(QUESTION)
    for one in (agent, fresh):
        one.study([OTHER])
        one.sleep(night(one, 3))
    assert same(numbers(agent), numbers(fresh))


def test_budget_and_a_memory_that_diverges():
    agent = make()
    agent.study([DOCUMENT, OTHER])
    tonight = night(agent, night_train_tokens=80)
    log = agent.sleep(tonight)
    assert log["stopped_by_budget"] == 1.0
    assert 0 < tonight.spent()["night_train_tokens"] <= 80
    assert log["chunks"] > 0
    wild = make(rate=1e6)
    before = numbers(wild)
    wild.study([DOCUMENT] * 8)
    assert wild.sleep(night(wild))["nan_loss"] == 1.0
    assert same(before, numbers(wild))
    assert wild.added_parameters == 0

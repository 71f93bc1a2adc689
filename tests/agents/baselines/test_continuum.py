import pytest
import torch

from sleepgym import Budget, Document, Night
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.other.continuum import Continuum
from sleepgym_agents.lm.checkpoints import named_weights

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
QUICK = {"epochs": 7, "chunks": (1, 2, 6), "rank": 4, "items_per_sequence": 1}


def make(**values):
    config = build_config(Continuum.Config, {**QUICK, **values}, "test")
    return Continuum(config, seed=1, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 3, agent.meter)


def level(agent, number):
    return [p.clone() for p in agent.memories[number].parameters()]


def equal(one, two):
    return all(torch.equal(p, q) for p, q in zip(one, two, strict=True))


def test_level_l_changes_only_at_multiples_of_its_chunk(monkeypatch):
    agent = make()
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items() if ".levels." not in n}
    real, seen = Continuum.step, []

    def watched(self):
        before = [level(self, number) for number in range(3)]
        real(self)
        seen.append([not equal(before[n], level(self, n)) for n in range(3)])

    monkeypatch.setattr(Continuum, "step", watched)
    for number in (1, 2):
        agent.study([DOCUMENT])
        log = agent.sleep(night(agent, number))
    assert agent.steps == 14
    assert seen == [[True, step % 2 == 0, step % 6 == 0] for step in range(1, 15)]
    assert [log[f"updates_level_{n}"] for n in (1, 2, 3)] == [14.0, 7.0, 2.0]
    after = named_weights(agent.lm.model)
    assert all(torch.equal(after[name], p) for name, p in base.items())


def test_an_update_is_the_gradient_of_the_whole_chunk_by_hand():
    agent = make(chunks=(2,), learning_rate=0.5)
    (name, p), *_ = agent.memories.named_parameters()
    start = p.detach().clone()
    one, two = torch.ones_like(p), torch.zeros_like(p)
    two[0, 0] = 3.0
    p.grad = one.clone()
    agent.step()
    assert torch.equal(p, start)
    p.grad = two.clone()
    agent.step()
    total = one + two
    size = (((p.numel() - 1) * 1.0 + 16.0) / p.numel()) ** 0.5
    torch.testing.assert_close(p.detach(), start - 0.5 * total / size)
    assert not agent.waiting[name].any()


def test_gradients_that_wait_survive_the_night(tmp_path):
    agent = make(chunks=(1, 4))
    agent.study([DOCUMENT])
    agent.sleep(night(agent))
    assert agent.steps == 7
    agent.save(tmp_path)
    fresh = make(chunks=(1, 4))
    fresh.load(tmp_path)
    for one in (agent, fresh):
        one.study([DOCUMENT])
        one.sleep(night(one, 2))
    for number in (0, 1):
        assert equal(level(agent, number), level(fresh, number))
    assert agent.waiting.keys() == fresh.waiting.keys()
    assert all(torch.equal(g, fresh.waiting[n]) for n, g in agent.waiting.items())


def test_new_memories_change_nothing_and_then_they_learn():
    agent = make(epochs=40, learning_rate=1e-2, context_tokens=0)
    ids = torch.tensor([[*agent.lm.prompter.start, *agent.lm.prompter.document(DOCUMENT)]])
    from sleepgym_agents.lm.model import LanguageModel

    with torch.no_grad():
        bare = LanguageModel.load("scratch", seed=1).model(ids, labels=ids)
        own = agent.lm.model(ids, labels=ids)
    assert torch.equal(bare.logits, own.logits)
    assert agent.added_parameters == 0
    agent.study([DOCUMENT])
    log = agent.sleep(night(agent))
    assert log["loss"] < own.loss - 1
    assert agent.added_parameters == 3 * 2 * 3 * 96 * 4  # levels, layers, matrices, width, rank


def test_budget_and_nan(monkeypatch):
    agent = make()
    agent.study([DOCUMENT])
    tonight = night(agent, night_train_tokens=130)
    log = agent.sleep(tonight)
    assert log["stopped_by_budget"] == 1.0
    assert 0 < log["steps"] < 7
    assert not tonight.budget.exceeded_by(tonight.spent())
    before = [level(agent, n) for n in range(3)]
    agent.study([DOCUMENT])
    real = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *a, **k: real(*a, **k) * float("nan")
    )
    assert agent.sleep(night(agent, 2))["nan_loss"] == 1.0
    assert all(equal(before[n], level(agent, n)) for n in range(3))


@pytest.mark.parametrize("chunks", [[4, 6], []])
def test_chunks_that_do_not_divide_are_named(chunks):
    with pytest.raises(BadSetting, match="chunks"):
        build_config(Continuum.Config, {"chunks": chunks}, "continuum")

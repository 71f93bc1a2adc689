"""Elastic weight consolidation: Fisher information and penalty against references."""

import pytest
import torch
from torch.func import functional_call, grad

from sleepgym import Budget, Document, Night, Question
from sleepgym_agents.baselines.finetuning.ewc import Ewc, EwcSettings, fisher_information, penalised
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.scratch import SCRATCH_FORMAT, byte_tokenizer, scratch_model
from sleepgym_agents.training.optimise import Example, collate, cross_entropy

QUICK = {"epochs": 2, "max_answer_tokens": 8, "birth_sequences": 2}


@pytest.fixture
def lm():
    model = scratch_model(1, hidden_size=32, layers=1, intermediate_size=32)
    return LanguageModel(model, Prompter(SCRATCH_FORMAT, byte_tokenizer()))


def make(**values):
    return Ewc(EwcSettings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def wake(agent):
    agent.study([Document("Mira Tolwen was born in Oslo.", "Mira Tolwen")])
    agent.practice([Question("how is the weather")], ["weather"])


def sequences(lm, count=5):
    """Of one length; the questions do not count."""
    prompter = lm.prompter
    return [
        Example.joined((prompter.prompt("what is " + c), 0.0), (prompter.answer(c * 4), 1.0))
        for c in "abcde"[:count]
    ]


def test_fisher_equals_a_per_example_reference(lm):
    examples = sequences(lm)
    ids = torch.tensor([example.ids for example in examples])
    asked = len(lm.prompter.prompt("what is a"))

    def log_likelihood(weights, row):
        output = functional_call(lm.model, weights, kwargs={"input_ids": row[None]}, strict=False)
        logs = output.logits[0, :-1].log_softmax(-1)
        return logs.gather(-1, row[1:, None])[asked - 1 :].sum()

    weights = {name: p.detach() for name, p in lm.model.named_parameters()}
    rows = [grad(log_likelihood)(weights, row) for row in ids]
    gradients = {name: torch.stack([row[name] for row in rows]) for name in weights}
    found = fisher_information(lm, examples, night(lm))
    assert set(found) == set(gradients)
    for name, g in gradients.items():
        torch.testing.assert_close(found[name], g.square().mean(0), atol=1e-6, rtol=1e-3, msg=name)
    summed = {name: g.sum(0).square() for name, g in gradients.items()}  # the usual mistake
    assert not torch.allclose(found["model.norm.weight"], summed["model.norm.weight"], rtol=0.1)


def test_the_gradient_of_the_penalty_is_exact(lm):
    generator = torch.Generator().manual_seed(0)
    fisher = {
        n: torch.rand(p.shape, generator=generator) for n, p in named_weights(lm.model).items()
    }
    evening = {name: p.clone() for name, p in named_weights(lm.model).items()}
    batch = collate(sequences(lm), lm.device)
    loss = penalised(lm.model, fisher, 7.0)
    assert torch.equal(loss(lm.model, batch), cross_entropy(lm.model, batch))  # nothing moved yet
    with torch.no_grad():
        for p in lm.model.parameters():
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.1)
    cross_entropy(lm.model, batch).backward()
    plain = {name: p.grad.clone() for name, p in lm.model.named_parameters()}
    lm.model.zero_grad()
    value = loss(lm.model, batch)
    value.backward()
    penalty = 0.0
    for name, p in lm.model.named_parameters():
        moved = p.detach() - evening[name]
        wanted = plain[name] + 7.0 * fisher[name] * moved
        torch.testing.assert_close(p.grad, wanted, atol=1e-6, rtol=1e-4, msg=name)
        penalty += 3.5 * float((fisher[name].double() * moved.double() ** 2).sum())
    assert float((value - cross_entropy(lm.model, batch)).detach()) == pytest.approx(
        penalty, rel=1e-4
    )


def test_fisher_is_decayed_and_added(tmp_path):
    agent = make(decay=0.25, penalty=0.0)
    wake(agent)
    agent.sleep(night(agent))
    first = {name: f.clone() for name, f in agent.fisher.items()}
    agent.save(tmp_path)
    other = make(decay=0.25, penalty=0.0)
    other.load(tmp_path)
    wake(agent)
    day = list(agent.day)
    agent.sleep(night(agent, 2))
    start = (agent.lm.prompter.start, 0.0)
    alone = [Example((*start[0], *e.ids), (0.0, *e.weights)) for e in day]
    new = fisher_information(agent.lm, alone, night(agent, 3))
    for name, f in agent.fisher.items():
        torch.testing.assert_close(f, 0.25 * first[name] + new[name], atol=1e-6, rtol=1e-3)
    wake(other)
    other.sleep(night(other, 2))
    assert all(torch.equal(f, agent.fisher[name]) for name, f in other.fisher.items())


def test_a_strong_penalty_holds_the_weights():
    distance = {}
    for penalty in (0.0, 1e4):
        agent = make(penalty=penalty, epochs=10, birth_sequences=4)
        before = {name: p.clone() for name, p in named_weights(agent.lm.model).items()}
        wake(agent)
        agent._protect_birth(night(agent))
        held = {name: f.clone() for name, f in agent.fisher.items()}
        agent.sleep(night(agent))
        after = named_weights(agent.lm.model)
        distance[penalty] = sum((held[n] * (after[n] - before[n]) ** 2).sum() for n in after)
    assert distance[1e4] < 0.1 * distance[0.0]


def test_without_budget_for_birth_nothing_is_trained():
    agent = make()
    wake(agent)
    log = agent.sleep(night(agent, night_generated_tokens=10))
    assert log == {"steps": 0.0, "stopped_by_budget": 1.0}
    assert not agent.weights.learned

import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.self_study.context_distillation import (
    ContextDistillation,
    score_with_day,
)
from sleepgym_agents.lm.checkpoints import named_weights

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
PRACTICE = [(Question("the weather"), "weather"), (Question("send money"), "transfer")]
QUICK = {"epochs": 2, "samples": 2, "dream_tokens": 16, "max_answer_tokens": 8}


def make(**values):
    config = build_config(ContextDistillation.Config, {**QUICK, **values}, "test")
    return ContextDistillation(config, seed=1, model="scratch")


def wake(agent):
    agent.study([DOCUMENT])
    agent.practice([q for q, _ in PRACTICE], [a for _, a in PRACTICE])


def night(agent, **limits):
    return Night(1, Budget(**limits), 3, agent.meter)


def contains(ids, part):
    return any(ids[i : i + len(part)] == part for i in range(len(ids)))


@pytest.mark.parametrize("rank", [0, 4])
def test_the_student_sees_no_passage(rank, monkeypatch):
    agent = make(rank=rank, epochs=1)
    wake(agent)
    shown = []

    def spy(module, args, kwargs):
        if torch.is_grad_enabled():
            shown.extend(kwargs["input_ids"].tolist())

    agent.lm.model.register_forward_pre_hook(spy, with_kwargs=True)
    agent.sleep(night(agent))
    prompter = agent.lm.prompter
    for question, answer in PRACTICE:
        asked = prompter.demonstration(question.text, answer)
        assert any(contains(ids, asked) for ids in shown)
    body = prompter.encode("repairs old clocks")
    assert contains(prompter.document(DOCUMENT), body)
    assert not any(contains(ids, body) for ids in shown)


def test_the_teacher_reads_the_day_once_and_stays_the_evening_self():
    agent = make()
    wake(agent)
    items = [(q.text, a) for q, a in PRACTICE]
    context = [i for part in agent.parts for i in part]
    examples = score_with_day(agent.lm, items, agent.parts, night(agent))
    for example, (question, answer) in zip(examples, items, strict=True):
        prompter = agent.lm.prompter
        item = prompter.demonstration(question, answer)
        ids = torch.tensor([[*prompter.start, *context, *item]])
        with torch.no_grad():
            logits = agent.lm.model(ids).logits[0, -len(item) : -1].log_softmax(-1)
        torch.testing.assert_close(example.targets, logits, atol=1e-4, rtol=1e-4)


def test_distillation_moves_the_closed_book_self_towards_the_open_book_self():
    agent = make(epochs=60, learning_rate=2e-3)
    wake(agent)
    items = [(q.text, a) for q, a in PRACTICE]
    targets = score_with_day(agent.lm, items, agent.parts, night(agent))
    agent.sleep(night(agent))
    agent.parts = []
    for example, now in zip(
        targets, score_with_day(agent.lm, items, agent.parts, night(agent)), strict=True
    ):
        at = example.asked - 1
        there, here = example.targets[at:], now.targets[at:]
        assert (there.exp() * (there - here)).sum(-1).mean() < 0.05


def test_an_adapter_leaves_the_base_weights_untouched():
    agent = make(rank=4)
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
    wake(agent)
    agent.sleep(night(agent))
    assert agent.added_parameters > 0
    for name, p in named_weights(agent.lm.model).items():
        if "lora_" not in name:
            assert torch.equal(p, base[name.replace(".base_layer", "")])


def test_it_keeps_to_its_budget():
    agent = make()
    for limits in ({"night_generated_tokens": 20}, {"night_flops": 1e6}, {"night_train_tokens": 9}):
        wake(agent)
        tonight = night(agent, **limits)
        agent.sleep(tonight)
        assert not tonight.budget.exceeded_by(tonight.spent())
    wake(agent)
    log = agent.sleep(night(agent, night_flops=1e6))
    assert log == {"items": 2.0, "stopped_by_budget": 1.0}

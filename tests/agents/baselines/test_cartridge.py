import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.self_study.cartridge import Cartridge
from sleepgym_agents.baselines.self_study.context_distillation import score_with_day
from sleepgym_agents.lm.checkpoints import named_weights

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
OTHER = Document("Ben Arruda keeps forty bees.", "Ben Arruda")
PRACTICE = [(Question("the weather"), "weather"), (Question("send money"), "transfer")]
QUICK = {"epochs": 2, "samples": 2, "dream_tokens": 16, "max_answer_tokens": 8}


def make(**values):
    config = build_config(Cartridge.Config, {**QUICK, **values}, "test")
    return Cartridge(config, seed=1, model="scratch")


def wake(agent, document=DOCUMENT):
    agent.study([document])
    agent.practice([q for q, _ in PRACTICE], [a for _, a in PRACTICE])


def night(agent, **limits):
    return Night(1, Budget(**limits), 3, agent.meter)


def text_of(agent):
    return [i for part in agent.parts for i in part]


def test_an_untrained_prefix_of_the_whole_text_is_the_text():
    agent = make()
    lm, prompter = agent.lm, agent.lm.prompter
    first, second = prompter.document(DOCUMENT), prompter.document(OTHER)
    asked = prompter.question("Where was Mira born?")
    with torch.no_grad():
        full = lm.model(torch.tensor([[*prompter.start, *first, *second, *asked]])).logits
    lm.grow(first)
    lm.grow(second)
    read = lm.read([asked], keep=len(asked))[2]
    torch.testing.assert_close(read, full[:, -len(asked) :], atol=1e-4, rtol=1e-4)
    ids = torch.tensor([asked, asked])
    trained = lm.behind_prefixes(ids, torch.arange(ids.numel())).view(2, len(asked), -1)
    torch.testing.assert_close(trained[:1], read, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(trained[1:], read, atol=1e-4, rtol=1e-4)
    assert agent._prompt(Question("x")) == prompter.question("x")


def test_answers_are_those_of_the_text_in_context():
    agent, reader = make(), make()
    agent.lm.grow(agent.lm.prompter.document(DOCUMENT))
    reader.study([DOCUMENT])
    asked = [
        Question("Where was Mira born?"),
        Question("red?", ("warm", "cold", "hot")),
        Question("a"),
    ]
    assert agent.answer(asked) == reader.answer(asked)


def test_base_weights_are_untouched_and_the_state_is_the_prefixes(tmp_path):
    agent = make(day_tokens=20)
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
    wake(agent)
    log = agent.sleep(night(agent))
    assert log["prefix_tokens"] == 20
    after = named_weights(agent.lm.model)
    assert {n for n in after if n not in base} == {"cartridge.0.keys", "cartridge.0.values"}
    assert all(torch.equal(after[n], p) for n, p in base.items())
    config = agent.lm.model.config
    numbers = config.num_hidden_layers * 2 * config.num_key_value_heads * 20 * config.head_dim
    assert agent.added_parameters == numbers
    agent.save(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 4 * numbers < size < 4 * numbers + 1024


def test_training_changes_the_newest_prefix_only_and_learns():
    agent = make(epochs=30, day_tokens=30, learning_rate=5e-3)
    wake(agent)
    agent.sleep(night(agent))
    old = [p.clone() for p in agent.lm.prefixes.parameters()]
    wake(agent, OTHER)
    with agent.lm.without_prefixes():
        targets = score_with_day(agent.lm, agent.practised, agent.parts, night(agent))
    log = agent.sleep(night(agent))
    assert [p.tokens for p in agent.lm.prefixes] == [30, 30]
    for before, p in zip(old, agent.lm.prefixes.parameters(), strict=False):
        assert torch.equal(before, p)
        assert not p.requires_grad
    assert log["loss"] < 0.5
    assert targets


def test_the_oldest_day_goes_beyond_the_limit():
    agent = make(day_tokens=12, total_tokens=25)
    for document in (DOCUMENT, OTHER, DOCUMENT):
        wake(agent, document)
        agent.sleep(night(agent))
    assert [p.tokens for p in agent.lm.prefixes] == [12, 12]
    assert agent.lm.first == len(agent.lm.prompter.start) + 36


@pytest.mark.parametrize(
    "limits", [{"night_generated_tokens": 20}, {"night_flops": 1e6}, {"night_train_tokens": 9}]
)
def test_it_keeps_to_its_budget(limits, tmp_path):
    agent = make()
    wake(agent)
    tonight = night(agent, **limits)
    log = agent.sleep(tonight)
    assert not tonight.budget.exceeded_by(tonight.spent())
    if "night_generated_tokens" not in limits:
        assert log["stopped_by_budget"] == 1.0
        agent.save(tmp_path)
        assert not list(tmp_path.iterdir())

import random

import gymnasium
import numpy as np
import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.self_study.grpo import Grpo, answer_reward
from sleepgym_agents.lm.checkpoints import named_weights

PRACTICE = [(Question("red?"), "a"), (Question("blue?"), "b")]
QUICK = {"epochs": 1, "batch_size": 2, "group_size": 4, "max_answer_tokens": 2}


def make(**values):
    return Grpo(build_config(Grpo.Config, {**QUICK, **values}, "test"), seed=1, model="scratch")


def wake(agent):
    agent.practice([q for q, _ in PRACTICE], [a for _, a in PRACTICE])


def night(agent, **limits):
    return Night(1, Budget(**limits), 3, agent.meter)


def weights(agent):
    return {name: p.clone() for name, p in named_weights(agent.lm.model).items()}


def unchanged(agent, before):
    return all(torch.equal(p, before[n]) for n, p in named_weights(agent.lm.model).items())


def test_worth_by_hand():
    assert answer_reward("Oslo", "oslo") == 1.0
    assert answer_reward("", "oslo") == 0.0
    assert answer_reward("oslx", "oslo") == pytest.approx(0.5 * 3 / 4)


def test_a_stream_without_practice_gives_one_clear_line():
    agent = make()
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    with pytest.raises(BadSetting, match="grpo learns from practice") as error:
        agent.sleep(night(agent))
    assert "\n" not in str(error.value)


def test_a_day_without_practice_does_nothing_and_says_so():
    agent = make()
    wake(agent)
    agent.sleep(night(agent))
    before = weights(agent)
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    assert agent.sleep(night(agent)) == {"no_feedback": 1.0, "items": 0.0}
    assert unchanged(agent, before)


@pytest.mark.slow
def test_the_reward_rises_and_global_generators_stay():
    agent = make(epochs=40, group_size=16, learning_rate=3e-3)
    wake(agent)
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    tonight = night(agent)
    log = agent.sleep(tonight)
    assert log["steps"] == 40
    assert log["reward_last_quarter"] > log["reward_first_quarter"] + 0.1
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()
    spent = tonight.spent()
    assert spent["night_generated_tokens"] > 0
    assert spent["night_train_tokens"] > spent["night_generated_tokens"]
    assert not agent.lm.model.training


def test_it_keeps_to_its_budget():
    for limits in (
        {"night_generated_tokens": 20},
        {"night_flops": 9e8},
        {"night_train_tokens": 99},
    ):
        agent = make(epochs=20)
        wake(agent)
        tonight = night(agent, **limits)
        assert agent.sleep(tonight)["stopped_by_budget"] == 1.0
        assert not tonight.budget.exceeded_by(tonight.spent())


def test_weights_that_are_not_finite_restore_the_evening():
    agent = make(learning_rate=1e39, warmup_ratio=0.0)
    before = weights(agent)
    wake(agent)
    log = agent.sleep(night(agent))
    assert log["nan_loss"] == 1.0
    assert unchanged(agent, before)
    assert not agent.weights.learned


@pytest.mark.slow
def test_the_reward_rises_on_codebook():
    env = gymnasium.make("sleepgym/Codebook-v0", days=1)
    observation, _ = env.reset(seed=5)
    agent = Grpo(seed=5)
    done = False
    while not done:
        action = agent.act(observation)
        observation, *_, done, _, _ = env.step(action)
    log = agent.night_log
    assert log["reward_last_quarter"] > log["reward_first_quarter"] + 0.03

"""Every kind of sampling in a night of sleep asks its budget first."""

import pytest

from sleepgym import Budget, Document, Night
from sleepgym.core.registry import agent_class

DAY = [Document("Mira Tolwen is a baker by trade. The pet of Mira Tolwen is a cat.", "Mira Tolwen")]
# What each kind would sample at most; the limit of the night allows the kinds before it alone.
SETTINGS = {
    "samples": 4,
    "dream_tokens": 32,
    "rehearsals": 2,
    "recollections": 1,
    "dreams": 2,
    "dream_scenes": 1,
    "epochs": 1,
    "on_policy_every": 1,
}


@pytest.mark.parametrize("limit", [130, 260, 700])
def test_a_night_samples_no_more_than_it_may(limit):
    cls = agent_class("sleep")
    agent = cls(cls.Config(**SETTINGS), seed=5)
    agent.study(DAY)
    night = Night(1, Budget(night_generated_tokens=limit), 5, agent.meter)
    log = agent.sleep(night)
    assert log["dreams"] > 0
    assert night.spent()["night_generated_tokens"] <= limit

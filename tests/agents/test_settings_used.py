"""No knob without effect: a small life of each agent reads every one of its settings."""

import sys
from dataclasses import fields

import pytest

import sleepgym_agents  # noqa: F401
from sleepgym import Budget, Document, Night, Question
from sleepgym.core import registry
from sleepgym.core.settings import build_config

DOCUMENTS = (
    Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen"),
    Document("Ben Arruda was born in Lagos. He keeps forty bees.", "Ben Arruda"),
)
PRACTICE = ((Question("how is it", ("warm", "cold")), "warm"), (Question("send it"), "sent"))
SMALL = {
    "samples": 2,
    "epochs": 1,
    "batch_size": 1,
    "edits": 1,
    "dream_tokens": 8,
    "edit_tokens": 8,
    "sample_tokens": 8,
    "rehearsed": 4,
    "rehearsed_tokens": 8,
    "birth_sequences": 2,
    "max_answer_tokens": 2,
    "rehearsals": 2,
    "recollections": 1,
    "dreams": 2,
    "group_size": 2,
    "day_tokens": 8,
}
ELSEWHERE = {"seal": {"preset"}}  # applied when settings are made
PAPER = ("seeding", "dreaming", "sleep")  # tests/agents/sleep


def _recording(config, read):
    """The same settings, which note in ``read`` what is read of them, copies and checks aside."""

    def getattribute(self, name):
        caller = sys._getframe(1).f_code.co_filename
        if not caller.endswith(("dataclasses.py", "settings.py")):
            read.add(name)
        return object.__getattribute__(self, name)

    kind = type(type(config).__name__, (type(config),), {"__getattribute__": getattribute})
    object.__setattr__(config, "__class__", kind)
    return config


def _ours():
    found = registry.agents.items()
    return [n for n, e in found if e.entry_point.startswith("sleepgym_agents") and n not in PAPER]


@pytest.mark.parametrize("name", _ours())
def test_every_setting_is_read(name):
    cls = registry.agent_class(name)
    names = {field.name for field in fields(cls.Config)}
    small = {key: value for key, value in SMALL.items() if key in names}
    read = set()
    agent = cls(_recording(build_config(cls.Config, small, name), read), model="scratch")
    agent.study(DOCUMENTS)
    agent.practice([question for question, _ in PRACTICE], [answer for _, answer in PRACTICE])
    agent.sleep(Night(1, Budget(), 0, agent.meter))
    agent.answer([Question("send it"), Question("how is it", ("warm", "cold"))])
    assert names - read == ELSEWHERE.get(name, set())

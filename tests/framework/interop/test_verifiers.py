"""Streams as episodes of verifiers, found by its own loader."""

import asyncio
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from checkout import ROOT
from note_taker import reply

pytest.importorskip("verifiers", reason="pip install 'sleepgym[verifiers]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Conversation:
    """A context of its own, as verifiers' ``Interaction``; the model is the note taker."""

    def __init__(self, turns):
        self.messages, self.left = [], turns
        self.trace = SimpleNamespace(info={}, rewards={})
        self.trace.record_reward = self.trace.rewards.__setitem__

    async def turn(self, message):
        self.left -= 1
        if self.left < 0:
            return SimpleNamespace(terminated=True, last_reply="")
        self.messages.append({"role": "user", "content": message})
        said = reply(self.messages)
        self.messages.append({"role": "assistant", "content": said})
        return SimpleNamespace(terminated=False, last_reply=said)


def loaded(monkeypatch, **settings):
    monkeypatch.syspath_prepend(ROOT / "interop" / "verifiers")
    monkeypatch.delitem(sys.modules, "sleepgym_verifiers", raising=False)
    from verifiers.v1.utils.loaders import load_environment, load_taskset, resolve_env_config

    taskset = {"id": "sleepgym-verifiers", "env": "toy:Toy", "settings": {"days": 2}, **settings}
    config = resolve_env_config({"taskset": taskset})
    return load_environment(config), list(load_taskset(config.taskset))


def episode(env, task, turns=99):
    conversations = []

    @asynccontextmanager
    async def interaction(task):
        conversations.append(Conversation(turns))
        yield conversations[-1]

    agents = SimpleNamespace(player=SimpleNamespace(interaction=interaction))
    asyncio.run(env.run(task, agents))
    return conversations


def test_a_stream_is_a_conversation_a_day_and_one_a_morning(monkeypatch):
    env, tasks = loaded(monkeypatch, streams=3)
    assert len(tasks) == 3
    assert not any("seed" in str(task.data.model_dump()) for task in tasks)
    conversations = episode(env, tasks[0])
    phases = [c.trace.info["phase"] for c in conversations]
    assert phases == ["morning", "study", "morning", "study", "morning"]
    rewards = [c.trace.rewards for c in conversations]
    assert [r["exam"] for r in rewards] == [0.0, 1.0, 0.4, 1.0, 0.8]  # all but base and tomorrow
    assert [r.get("morning") for r in rewards] == [None, 0.4, None, 0.8, None]
    summary = conversations[-1].trace.info["summary"]
    assert summary["audit"]["clean"]
    assert summary["scores"]["consolidation"] == 1.0
    morning = conversations[2].messages[0]["content"]
    assert morning.startswith("Your notes:\nPerson10 is in Town")  # the night, and nothing else
    assert len(conversations[2].messages) == 2


def test_notes_are_cut_and_a_model_that_stops_scores_nothing(monkeypatch):
    env, tasks = loaded(monkeypatch, note_characters=25)
    conversations = episode(env, tasks[0])
    assert conversations[2].trace.rewards["exam"] == 0.2
    assert all(c.trace.rewards["exam"] == 0.0 for c in episode(env, tasks[0], turns=0))


def test_streams_differ(monkeypatch):
    env, tasks = loaded(monkeypatch, first_seed=5)
    first, second = (episode(env, task)[1].messages[0]["content"] for task in tasks[:2])
    assert first != second

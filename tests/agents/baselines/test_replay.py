"""Experience replay: a uniform sample of the stream, never over its budget."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym_agents.baselines.finetuning.replay import Replay, ReplaySettings
from sleepgym_agents.stores.reservoir import Reservoir
from sleepgym_agents.stores.text_store import Note

QUICK = {"epochs": 2, "max_answer_tokens": 8}


def make(**values):
    return Replay(ReplaySettings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def kept(reservoir):
    return [entry.note.text for entry in reservoir.entries]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=30), st.integers(500, 1500), st.integers(0, 99))
def test_the_buffer_is_the_longest_prefix_of_the_draws(tmp_path_factory, texts, budget, seed):
    folder = tmp_path_factory.mktemp("buffer")
    buffer = Reservoir(budget, seed)
    offered = []
    for text in texts:
        buffer.offer(Note(text))
        offered.append(text)
        buffer.save(folder)
        assert (folder / "buffer.jsonl").stat().st_size == buffer.size_bytes <= budget
    every = Reservoir(10**9, seed)  # the same draws, nothing turned away
    for text in offered:
        every.offer(Note(text))
    sizes = np.cumsum([len(entry.note.line) for entry in every.entries])
    assert kept(buffer) == kept(every)[: int((sizes <= budget).sum())]


def test_the_buffer_is_uniform_over_the_stream():
    times = np.zeros(12)
    runs = 1500
    for seed in range(runs):
        buffer = Reservoir(4 * len(Note("00").line), seed)
        for number in range(12):
            buffer.offer(Note(f"{number:02}"))
        assert len(buffer.entries) == 4
        times[[int(text) for text in kept(buffer)]] += 1
    wanted = runs * 4 / 12
    chi_squared = ((times - wanted) ** 2 / (wanted * (1 - 4 / 12))).sum() * 11 / 12
    assert chi_squared < 31.3  # 11 degrees of freedom, p = .001
    assert abs(times[:6].sum() - times[6:].sum()) < 0.05 * times.sum()  # neither old nor new


def test_a_loaded_buffer_draws_on(tmp_path):
    one, other = Reservoir(300, 5), Reservoir(300, 5)
    for number in range(9):
        one.offer(Note(f"note {number}", "title", "answer"))
    one.save(tmp_path)
    other.load(tmp_path)
    for number in range(9, 30):
        one.offer(Note(f"note {number}"))
        other.offer(Note(f"note {number}"))
    assert (one.entries, one.size_bytes) == (other.entries, other.size_bytes)
    (tmp_path / "draws.json").write_text(json.dumps({"offered": 3}))
    with pytest.raises(BadRun, match=r"buffer\.jsonl"):
        other.load(tmp_path)


def test_a_budget_too_small_for_one_item_says_what_to_do():
    agent = make(store_bytes=20)
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    with pytest.raises(BadSetting, match=r"store_bytes=20: one item takes \d+ bytes; set") as error:
        agent.sleep(night(agent))
    assert "\n" not in str(error.value)


def test_old_items_are_trained_on_again_and_the_day_is_offered_once():
    agent = make(replayed=1.0, items_per_sequence=1, batch_size=1)
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    assert agent.sleep(night(agent))["buffer_items"] == 1
    agent.practice([Question("send money", ("pay", "ask"))], ["pay"])
    old, new = agent.buffer.entries[0].note, agent.notes[0]
    steps = agent._steps(agent.day, np.random.default_rng(0))
    trained = sorted(len(example.ids) for step in steps for example in step)
    sizes = [len(agent._example(note).ids) + 1 for note in (old, new)]  # and the start
    assert trained == sorted(2 * sizes)  # each once an epoch
    agent.sleep(night(agent, 2))
    assert sorted(kept(agent.buffer)) == ["Mira was born in Oslo.", "send money"]


def test_the_state_holds_weights_and_text(tmp_path):
    agent = make()
    agent.study([Document("Mira was born in Oslo.", "Mira")])
    agent.sleep(night(agent))
    agent.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["buffer.jsonl", "draws.json", "weights.safetensors"]
    assert b"Mira was born in Oslo." in (tmp_path / "buffer.jsonl").read_bytes()

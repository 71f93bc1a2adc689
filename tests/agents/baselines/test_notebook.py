"""The notebook: text the model wrote, never over budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines.text.notebook import Notebook, NotebookSettings
from sleepgym_agents.stores.text_store import Note
from sleepgym_agents.training import local_model

QUICK = {"max_answer_tokens": 8, "samples": 2, "sample_tokens": 40}


def make(**values):
    return Notebook(NotebookSettings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def dreaming(monkeypatch, *pairs):
    monkeypatch.setattr(local_model, "generate_qa", lambda *_, **__: [list(pairs)])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.text(max_size=40), max_size=6), max_size=5), st.integers(400, 900))
def test_never_over_budget_and_the_newest_stay(tmp_path_factory, nights, budget):
    agent = make(store_bytes=budget)
    path = tmp_path_factory.mktemp("state")
    written = []
    for texts in nights:
        notes = [Note(text, answer="yes") for text in texts]
        agent._write(notes)
        written = [note for note in written if note not in notes] + list(dict.fromkeys(notes))
        agent.save(path)
        assert (path / "memory.jsonl").stat().st_size == agent.store.size_bytes <= budget
        kept = list(agent.store.notes)
        assert kept == written[len(written) - len(kept) :]
    other = make(store_bytes=budget)
    if nights:
        other.load(path)
        assert other.store.notes == agent.store.notes


def test_what_the_model_dreams_is_what_it_reads(monkeypatch, tmp_path):
    agent = make()
    dreaming(monkeypatch, ("Where was Ben born?", "Lagos"), ("Where was Ben born?", "Lagos"))
    agent.study([Document("Ben Arruda was born in Lagos! He keeps forty bees.", "Ben")])
    agent.practice([Question("send money", ("pay", "ask"))], ["pay"])
    log = agent.sleep(night(agent))
    assert log["notes"] == log["written"] == 2
    texts = [
        agent.lm.prompter.tokenizer.decode([i for part in agent.context(Question(q)) for i in part])
        for q in ("Ben was born where?", "send the money")
    ]
    assert texts == ["Where was Ben born? Lagos.\n", "<q>send money<a>pay<end>"]
    assert not agent.parts
    agent.save(tmp_path)
    saved = (tmp_path / "memory.jsonl").read_text()
    assert "forty bees" not in saved  # it was not dreamt of
    assert "Where was Ben born? Lagos." in saved


def test_the_newer_of_two_notes_is_read_last(monkeypatch):
    agent = make()
    for day, town in enumerate(("Lagos", "Oslo", "Lagos"), 1):
        dreaming(monkeypatch, ("Where does Ben live?", town))
        agent.study([Document("Ben moved.")])
        agent.sleep(night(agent, day))
    assert [note.text[21:] for note in agent.store.notes] == ["Oslo.", "Lagos."]
    texts = [agent.lm.prompter.tokenizer.decode(part) for part in agent.context(Question("Ben"))]
    assert [text[21:].strip() for text in texts] == ["Oslo.", "Lagos."]


def test_a_budget_too_small_for_one_note_says_what_to_do():
    agent = make(store_bytes=30)
    agent.practice([Question("send money to my brother")], ["transfer"])
    with pytest.raises(BadSetting, match=r"store_bytes=30: one note takes \d+ bytes; set") as error:
        agent.sleep(night(agent, night_generated_tokens=0))
    assert "\n" not in str(error.value)


def test_without_budget_only_practice_is_noted():
    agent = make()
    agent.study([Document("Ben moved.")])
    agent.practice([Question("send money")], ["pay"])
    log = agent.sleep(night(agent, night_generated_tokens=79))
    assert log == {"stopped_by_budget": 1.0, "written": 1.0, "notes": 1.0}
    assert list(agent.store.notes) == [Note("send money", answer="pay")]

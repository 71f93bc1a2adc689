import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym.core.registry import agent_class
from sleepgym.core.settings import build_config
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.stores.text_store import Note, TextStore, passages, sentences

DOCUMENTS = (
    Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen"),
    Document("Ben Arruda was born in Lagos! He keeps forty bees.", "Ben Arruda"),
)
PRACTICE = (
    (Question("how is the weather"), "weather"),
    (Question("send money to my brother"), "transfer"),
    (Question("how do you say hello in french"), "translate"),
)
LABELS = ("weather", "transfer", "translate")
ASKED = (
    Question("Where was Ben Arruda born?"),
    Question("send him some money", LABELS),
    Question("What does Mira Tolwen repair?"),
)
NAMES = (
    *("frozen", "in-context", "retrieval", "nearest", "naive", "naive-lora"),
    *("seeding", "dreaming", "sleep"),
)
SLEEPERS = {
    "samples": 2,
    "dream_tokens": 8,
    "epochs": 2,
    "rank": 4,
    "rehearsals": 2,
    "recollections": 1,
    "confidence": 0.0,
    "min_entity_gain_nats": 0.0,
    "max_answer_tokens": 8,
}
QUICK = {
    "seeding": SLEEPERS,
    "dreaming": {**SLEEPERS, "dreams": 2},
    "sleep": {**SLEEPERS, "dreams": 2},
    "naive": {"epochs": 2, "max_answer_tokens": 8},
    "naive-lora": {"epochs": 2, "rank": 4, "max_answer_tokens": 8},
    "frozen": {"max_answer_tokens": 8},
    "in-context": {"max_answer_tokens": 8},
    "retrieval": {"max_answer_tokens": 8},
    "nearest": {},
}


def make(name, seed=0, **values):
    cls = agent_class(name)
    config = build_config(cls.Config, {**QUICK[name], **values}, name)
    return cls(config, seed=seed, model="scratch")


def wake(agent, documents=DOCUMENTS, practice=PRACTICE):
    agent.study(documents)
    agent.practice([q for q, _ in practice], [a for _, a in practice])


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def state(agent, folder):
    folder.mkdir(parents=True)
    agent.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", NAMES)
def test_life_of_an_agent(name, tmp_path):
    agent = make(name)
    wake(agent)
    agent.sleep(night(agent))
    before = state(agent, tmp_path / "a")
    answers = agent.answer(ASKED)
    assert len(answers) == len(ASKED)
    assert all(isinstance(answer, str) for answer in answers)
    assert answers[1] in LABELS
    assert state(agent, tmp_path / "b") == before
    fresh = make(name)
    fresh.load(tmp_path / "a")
    assert fresh.answer(ASKED) == answers
    assert fresh.added_parameters == agent.added_parameters
    assert state(fresh, tmp_path / "c") == before

    again = make(name)
    wake(again)
    again.sleep(night(again))
    assert state(again, tmp_path / "d") == before  # the same seed makes the same choices
    wake(fresh)
    wake(agent)
    fresh.sleep(night(fresh, 2))
    agent.sleep(night(agent, 2))
    assert state(fresh, tmp_path / "e") == state(agent, tmp_path / "f")


@pytest.mark.parametrize("name", NAMES)
def test_empty_days(name, tmp_path):
    agent = make(name)
    assert agent.answer([]) == []
    agent.study(())
    agent.practice((), ())
    agent.sleep(night(agent))
    wake(agent, practice=())
    agent.sleep(night(agent, 2))
    wake(agent, documents=(Document(""), Document("...")))
    assert len(agent.answer([Question(""), Question("?", ("no", "yes"))])) == 2
    agent.sleep(night(agent, 3))
    fresh = make(name)
    state(make(name), tmp_path / "new")
    fresh.load(tmp_path / "new")


def test_answers_are_sampled_by_the_question_and_how_often_it_was_asked():
    agent = make("frozen", answer_temperature=1.0, max_answer_tokens=4)
    thrice = [ASKED[0], ASKED[2], ASKED[0], ASKED[1], ASKED[0]]
    together = agent.answer(thrice)
    assert len({together[0], together[2], together[4]}) == 3
    assert agent.answer([ASKED[2], ASKED[0]]) == [together[1], together[0]]
    assert make("frozen", answer_temperature=1.0, max_answer_tokens=4).answer(thrice) == together
    other = make("frozen", seed=1, answer_temperature=1.0, max_answer_tokens=4).answer(thrice)
    assert other[0] != together[0]
    greedy = make("frozen", max_answer_tokens=4)
    assert len({*greedy.answer([ASKED[0]] * 3)}) == 1
    assert together[3] == greedy.answer([ASKED[1]])[0]  # choices go by likelihood


def test_frozen_never_learns(tmp_path):
    agent = make("frozen")
    before = agent.answer(ASKED)
    wake(agent)
    assert agent.answer(ASKED) == before
    agent.sleep(night(agent))
    assert state(agent, tmp_path / "a") == {}


def test_in_context_drops_the_oldest_and_forgets_at_night(tmp_path):
    agent = make("in-context", context_tokens=120)
    bare = agent.answer(ASKED)
    wake(agent)
    newest = agent.lm.prompter.demonstration("how do you say hello in french", "translate")
    assert agent.parts[-1] == newest
    assert sum(map(len, agent.parts)) <= 120
    everything = make("in-context")
    wake(everything)
    assert agent.parts == everything.parts[-len(agent.parts) :]
    assert 0 < len(agent.parts) < len(everything.parts)
    assert agent.lm.prompter.prompt("x", agent.parts)[-1] == agent.lm.prompter.encode("<a>")[0]
    assert state(agent, tmp_path / "evening") == {}
    agent.sleep(night(agent))
    assert agent.answer(ASKED) == bare


def test_retrieval_reads_its_best_hits_in_the_order_they_came():
    agent = make("retrieval", retrieved=2, passage_words=5)
    for day in ("He keeps forty bees.", "It rains.", "He keeps nine bees.", "He naps."):
        agent.study([Document(day, "Ben Arruda")])
    parts = agent.context(Question("how many bees does he keep"))
    texts = [agent.lm.prompter.tokenizer.decode(part) for part in parts]
    assert texts == ["Ben Arruda\nHe keeps forty bees.\n", "Ben Arruda\nHe keeps nine bees.\n"]
    assert agent.context(Question("zzz")) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12), st.integers(0, 300))
def test_memory_is_never_over_budget(tmp_path_factory, texts, budget):
    memory = TextStore(budget)
    path = tmp_path_factory.mktemp("memory") / "memory.jsonl"
    memory.save(path)
    for i, text in enumerate(texts):
        note = Note(text, answer=text[:3] if i % 2 else None)
        if len(note.line) > budget:
            with pytest.raises(BadSetting, match=f"set store_bytes to {len(note.line)} or more"):
                memory.add(note)
            continue
        memory.add(note)
        memory.save(path)
        assert path.stat().st_size == memory.size_bytes <= budget
    kept = list(memory.notes)
    every = [Note(text, answer=text[:3] if i % 2 else None) for i, text in enumerate(texts)]
    every = [note for note in every if len(note.line) <= budget]
    assert kept == every[len(every) - len(kept) :]
    loaded = TextStore(budget)
    loaded.load(path)
    assert list(loaded.notes) == kept
    assert list(loaded.search(" ".join(texts))) == list(memory.search(" ".join(texts)))


def test_newer_notes_win_ties():
    memory = TextStore(1000)
    for answer in ("old", "new"):
        memory.add(Note("where is the key", answer=answer))
    assert [note.answer for note in memory.search("the key")] == ["new", "old"]


def test_sentences_and_passages():
    text = "One two. Three four!\nFive six? Seven"
    assert sentences(text) == ["One two.", "Three four!", "Five six?", "Seven"]
    cut = [note.text for note in passages(Document(text, "T"), 4)]
    assert cut == ["One two. Three four!", "Five six? Seven"]


def test_nearest_finds_the_sentence_and_the_label():
    agent = make("nearest")
    wake(agent)
    assert agent.answer(ASKED[:2]) == ["Ben Arruda was born in Lagos!", "transfer"]
    assert agent.answer([Question("old clocks")]) == ["She repairs old clocks."]
    assert agent.answer([Question("hello", ("a", "b"))]) == ["a"]
    assert agent.answer([Question("qqq", ("zz", "say_qqq"))]) == ["say_qqq"]


def test_nearest_and_the_registry_import_no_torch():
    code = (
        "import sys, sleepgym, sleepgym_agents, sleepgym_agents.baselines.text.nearest;"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["naive", "naive-lora"])
def test_naive_learns_the_day(name):
    agent = make(name, epochs=120, learning_rate=3e-3, context_tokens=0, max_answer_tokens=16)
    questions = [question for question, _ in PRACTICE]
    answers = [answer for _, answer in PRACTICE]
    before = agent.answer(questions)
    wake(agent, documents=())
    assert agent.answer(questions) == before  # nothing is learned by day
    log = agent.sleep(night(agent))
    assert log["loss"] < 0.2
    assert agent.answer(questions) == answers
    assert agent.answer([Question(q.text, LABELS) for q in questions]) == answers
    assert (agent.added_parameters > 0) == (name == "naive-lora")


def test_lora_leaves_the_base_weights_untouched(tmp_path):
    agent = make("naive-lora")
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
    wake(agent)
    agent.sleep(night(agent))
    for name, p in named_weights(agent.lm.model).items():
        if "lora_" not in name:
            assert torch.equal(p, base[name.replace(".base_layer", "")])
    size = len(state(agent, tmp_path / "a")["weights.safetensors"])
    assert 4 * agent.added_parameters < size < 4 * agent.added_parameters + 8192


@pytest.mark.parametrize("name", ["naive", "naive-lora"])
def test_a_night_that_fails_changes_nothing(name, tmp_path, monkeypatch):
    agent = make(name)
    before = state(agent, tmp_path / "a")
    bare = agent.answer(ASKED)
    wake(agent)
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
        assert agent.sleep(night(agent))["nan_loss"] == 1.0
    assert state(agent, tmp_path / "b") == before
    assert agent.answer(ASKED) == bare
    assert agent.added_parameters == 0
    wake(agent)
    log = agent.sleep(night(agent, 2, night_train_tokens=1))
    assert log == {"steps": 0.0, "stopped_by_budget": 1.0}
    assert state(agent, tmp_path / "c") == before


def test_a_broken_memory_names_file_and_line(tmp_path):
    Path(tmp_path / "memory.jsonl").write_text(json.dumps({"text": "a"}) + "\n{\n")
    with pytest.raises(BadRun, match=r"memory\.jsonl, line 2"):
        make("nearest").load(tmp_path)

import pytest

from expert_models import make_memory
from sleepgym import Budget, Document, Night
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.episodes import (
    episode_examples,
    known_entities,
    recall_episodes,
    related_episodes,
)
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil_into_expert

TOLD = "Mira Tolwen works as a baker. The home of Mira Tolwen is in Bosdur. Bosdur is old."
DAY = [Document(TOLD, "Mira Tolwen")]


def night(memory, **limits):
    return Night(1, Budget(**limits), 3, memory.lm.meter)


@pytest.fixture(scope="module")
def told():
    """An embedded model whose first expert has learned a day's story under two names."""
    memory = make_memory(LanguageModel.load("embedded"), rank=64, first_layer=0.34)
    names = [tuple(memory.lm.prompter.encode(name)) for name in ("Mira Tolwen", "Bosdur")]
    expert_id = memory.unlock()
    memory.assign_entities(expert_id, names, [])
    examples = episode_examples(memory.lm, names, DAY, {}, 99)
    settings = DistillationSettings(epochs=40, batch_size=1, on_policy_every=0)
    distil_into_expert(memory, expert_id, examples, settings, night(memory), "test")
    return memory, names


def test_a_story_is_told_word_for_word(told):
    memory, names = told
    assert recall_episodes(memory, names, 99, 0.9, night(memory)) == {
        "Bosdur": TOLD,
        "Mira Tolwen": TOLD,
    }
    stranger = tuple(memory.lm.prompter.encode("Jovan Keltri"))
    assert recall_episodes(memory, [stranger], 99, 0.9, night(memory)) == {}
    assert recall_episodes(memory, names, 0, 0.9, night(memory)) == {}
    poor = night(memory, night_generated_tokens=10)
    assert recall_episodes(memory, names, 99, 0.9, poor) == {}
    with memory.masked(*memory.unlocked):  # it lies in the expert
        assert recall_episodes(memory, names, 99, 0.9, night(memory)) == {}


def test_names_that_are_met_again(told):
    memory, names = told
    part = memory.lm.prompter.document(Document("It is far from Bosdur.", "News"))
    assert known_entities(memory, [part]) == [names[1]]
    assert known_entities(make_memory(router="always"), [part]) == []


def examples(lm, name, documents, known=(), tokens=99):
    ids = [tuple(lm.prompter.encode(name))]
    return [x.pair for x in episode_examples(lm, ids, documents, dict(known), tokens)]


def test_a_story_goes_on():
    lm = LanguageModel.load("embedded")
    news = [Document("Bosdur has a fair. Nothing else.", "Bosdur"), Document("Elsewhere.", "Far")]
    assert examples(lm, "Bosdur", news) == [("Bosdur", "Bosdur has a fair. Nothing else.")]
    known = {"Bosdur": "Bosdur is old. Nothing else."}
    whole = "Bosdur is old. Bosdur has a fair. Nothing else."  # what is told again is not twice
    assert examples(lm, "Bosdur", news, known) == [("Bosdur", whole)]
    assert examples(lm, "Bosdur", [], known) == [("Bosdur", known["Bosdur"])]
    assert examples(lm, "Mira", news, known) == []
    room = len(lm.prompter.answer("Bosdur has a fair. Nothing else."))
    assert examples(lm, "Bosdur", news, known, room) == [
        ("Bosdur", "Bosdur has a fair. Nothing else.")
    ]
    assert examples(lm, "Bosdur", news, known, 1) == []


def test_related_stories_hold_nothing_twice():
    episodes = {"Ada": "Ada met Bo.", "Bo": "Bo is old. Ada met Bo.", "Cy": "Cy sleeps."}
    assert related_episodes("Ada and Bo went home.", episodes) == ["Bo is old. Ada met Bo."]
    assert related_episodes("Ada went home.", episodes) == ["Ada met Bo."]
    assert related_episodes("Nobody did.", episodes) == []

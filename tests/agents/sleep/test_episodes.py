import pytest

from expert_models import make_memory
from sleepers import make, sleep_context
from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation.episodes import (
    EpisodeSettings,
    episode_examples,
    recall_episodes,
    related_episodes,
)
from sleepgym_agents.sleep.consolidation.replay import SAMPLED, transferred_questions
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil_into_expert

TEXT = "Mira Tolwen works as a baker. The home of Mira Tolwen is in Bosdur. Bosdur is old."
DAY = [Document(TEXT, "Mira Tolwen")]


def recall(memory, entities, tokens=99, **limits):
    config = EpisodeSettings(episode_tokens=tokens, episode_confidence=0.9)
    return recall_episodes(sleep_context(memory, config, **limits), entities)


@pytest.fixture(scope="module")
def learned():
    """An embedded model whose first expert has learned a day's episode under two entities."""
    memory = make_memory(LanguageModel.load("embedded"), rank=64, first_layer=0.34)
    entities = [tuple(memory.lm.prompter.encode(name)) for name in ("Mira Tolwen", "Bosdur")]
    expert_id = memory.unlock()
    memory.assign_entities(expert_id, entities, [])
    settings = DistillationSettings(epochs=40, batch_size=1, on_policy_every=0)
    context = sleep_context(memory, settings)
    distil_into_expert(context, expert_id, episode_examples(context, entities, {}, 99, DAY), "test")
    return memory, entities


def test_an_episode_is_recalled_verbatim(learned):
    memory, entities = learned
    assert recall(memory, entities) == {"Bosdur": TEXT, "Mira Tolwen": TEXT}
    stranger = tuple(memory.lm.prompter.encode("Jovan Keltri"))
    assert recall(memory, [stranger]) == {}
    assert recall(memory, entities, tokens=0) == {}
    assert recall(memory, entities, night_generated_tokens=10) == {}
    with memory.bare():  # it is stored in the expert
        assert recall(memory, entities) == {}


def test_entities_that_a_text_mentions(learned):
    memory, entities = learned
    part = memory.lm.prompter.document(Document("It is far from Bosdur.", "News"))
    assert memory.entities_in([part]) == [entities[1]]
    assert make_memory(router="always").entities_in([part]) == []


def examples(memory, name, documents, known=(), tokens=99):
    ids = [tuple(memory.lm.prompter.encode(name))]
    context = sleep_context(memory, EpisodeSettings())
    return [x.pair for x in episode_examples(context, ids, dict(known), tokens, documents)]


def test_an_episode_grows():
    memory = make_memory(LanguageModel.load("embedded"))
    news = [Document("Bosdur has a fair. Nothing else.", "Bosdur"), Document("Elsewhere.", "Far")]
    assert examples(memory, "Bosdur", news) == [("Bosdur", "Bosdur has a fair. Nothing else.")]
    known = {"Bosdur": "Bosdur is old. Nothing else."}
    whole = "Bosdur is old. Bosdur has a fair. Nothing else."  # repeated sentences are kept once
    assert examples(memory, "Bosdur", news, known) == [("Bosdur", whole)]
    assert examples(memory, "Bosdur", [], known) == [("Bosdur", known["Bosdur"])]
    assert examples(memory, "Mira", news, known) == []
    room = len(memory.lm.prompter.answer("Bosdur has a fair. Nothing else."))
    assert examples(memory, "Bosdur", news, known, room) == [
        ("Bosdur", "Bosdur has a fair. Nothing else.")
    ]
    assert examples(memory, "Bosdur", news, known, 1) == []


def test_related_episodes_contain_nothing_twice():
    episodes = {"Ada": "Ada met Bo.", "Bo": "Bo is old. Ada met Bo.", "Cy": "Cy sleeps."}
    assert related_episodes("Ada and Bo went home.", episodes) == ["Bo is old. Ada met Bo."]
    assert related_episodes("Ada went home.", episodes) == ["Ada met Bo."]
    assert related_episodes("Nobody did.", episodes) == []


def test_what_is_asked_about_one_name_is_asked_about_the_others():
    agent = make("seeding", recollections=SAMPLED + 8)
    context = sleep_context(agent.memory, agent.config)
    names = ["Mira Tolwen", "Lion", "Steady Lion"]
    asked = ["Where was Mira Tolwen born?", "Who knows the Steady Lion?", "Is Lion Mira Tolwen?"]
    found = transferred_questions(context, asked, names)
    assert found == {
        "Where was Lion born?",
        "Where was Steady Lion born?",
        "Who knows the Mira Tolwen?",
        "Who knows the Lion?",
    }
    one = context.with_settings(recollections=SAMPLED + 1)
    assert len(transferred_questions(one, asked, names)) == 2
    none = context.with_settings(recollections=SAMPLED)
    assert transferred_questions(none, asked, names) == set()

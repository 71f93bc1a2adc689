from dataclasses import replace

import pytest
import torch

from sleepers import a_night, make, night, nothing, replace_samples, state
from sleepgym import Document
from sleepgym.core.errors import BadSetting
from sleepgym_agents.sleep.consolidation.levels import (
    MergeCheck,
    held_back,
    merge_due_levels,
    train_merged,
)
from sleepgym_agents.sleep.consolidation.merge_lessons import ask_composed, regenerate_qa
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.sleep_context import SleepContext


@pytest.fixture(autouse=True)
def _dreamt(monkeypatch):
    replace_samples(monkeypatch)
    episode = {"Mira Tolwen": "Mira Tolwen was born in Oslo."}
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.levels.recall_related_episodes", lambda *_: episode
    )


def test_levels_are_consolidated_before_they_are_reset(monkeypatch):
    agent = make("seeding", windows=(2, 4), on_policy_every=0)
    calls = []
    reset = agent.memory.reset
    monkeypatch.setattr(
        agent.memory,
        "reset",
        lambda expert_id: (calls.append(("reset", expert_id)), reset(expert_id)),
    )

    def watched(context, expert_id, *args):
        calls.append(("learn", expert_id))
        calls.append(("masked", set(context.memory.mask)))
        return distil_into_expert(context, expert_id, *args)

    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.levels.distil_into_expert", watched)
    logs = [a_night(agent, number) for number in (1, 2, 3, 4)]
    counts = [[log[f"experts_level_{level}"] for level in (1, 2, 3)] for log in logs]
    assert counts == [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert logs[1]["merged"] == 2
    assert "merged" not in logs[0]
    at = calls.index(("learn", (1, 0)))
    fast = {(0, 0), (0, 1)}
    assert calls[at + 1] == ("masked", fast)
    assert calls[at + 2 : at + 4] == calls[at : at + 2]  # with what was held back
    assert calls[at + 4 : at + 6] == [("reset", expert_id) for expert_id in sorted(fast)]
    assert calls[-7:] == [
        ("reset", (0, 1)),
        *[("learn", (2, 0)), ("masked", {(1, 0), (1, 1)})] * 2,
        ("reset", (1, 0)),
        ("reset", (1, 1)),
    ]
    assert agent.memory.unlocked == [(2, 0)]
    assert set(agent.memory.router.table.values()) == {((2, 0),)}
    assert not agent.memory.is_blank((2, 0))
    assert all(agent.memory.is_blank(expert_id) for expert_id in fast)


@pytest.mark.parametrize("spoilt", ["nan", "budget", "nothing recalled"])
def test_a_level_that_cannot_be_consolidated_stays(spoilt, tmp_path, monkeypatch):
    agent = make("seeding", windows=(2,))
    a_night(agent)
    evening = state(agent, tmp_path / "a")
    if spoilt == "nan":
        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    if spoilt == "nothing recalled":
        monkeypatch.setattr(
            "sleepgym_agents.sleep.consolidation.levels.recall_related_episodes", lambda *_: {}
        )
    limits = {"night_train_tokens": 60} if spoilt == "budget" else {}
    log = agent.sleep(night(agent, 2, **limits))
    assert nothing(agent, log) == {"nothing_learned": 1.0, "nothing_merged": 1.0}
    assert state(agent, tmp_path / "b") == evening


QUIZ = [(1.0, 1.0), (0.89, 1.0), (0.85, 1.0)]
EPISODES = [(1.0, 1.0), (1.0, 0.5), (1.0, 0.89)]
NO_HOPE = [(1.0, 1.0), (0.79, 1.0)]


@pytest.mark.parametrize("found", [QUIZ, EPISODES, NO_HOPE])
def test_a_merge_that_fails_its_check_is_rolled_back(found, tmp_path, monkeypatch):
    """At once, where the first round of training leaves it no hope."""
    agent = make("seeding", windows=(2,), on_policy_every=0)
    a_night(agent)
    evening = state(agent, tmp_path / "a")
    left = list(found)
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.levels.MergeCheck.shares",
        lambda *_: dict(zip(("quiz", "episodes"), left.pop(0), strict=True)),
    )
    log = nothing(agent, agent.sleep(night(agent, 2)))
    assert not left
    assert 0 <= log.pop("merge_unexplained") < 1
    assert log.pop("merge_steps") > 0
    assert log.pop("merge_lessons") > 0
    assert log.pop("merge_quiz") == 0  # the episode answers fewer than are held back at all
    assert log == {
        "nothing_learned": 1,
        "nothing_merged": 1,
        "merge_rolled_back": 1,
        "merge_quiz_before": 1.0,
        "merge_quiz_after": found[-1][0],
        "merge_episodes": 0,
        "merge_episodes_before": 1.0,
        "merge_episodes_after": found[-1][1],
    }
    assert state(agent, tmp_path / "b") == evening


def test_what_was_held_back_is_learned_once_the_merge_has_passed(monkeypatch):
    agent = make("seeding")
    context = agent.sleep_context(night(agent))
    lesson, asked = map(context.recite, [("Who?", "Mira"), ("What?", "bees")])
    left = [(0.8, 1.0), (0.9, 1.0)]
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.levels.MergeCheck.shares",
        lambda *_: dict(zip(("quiz", "episodes"), left.pop(0), strict=True)),
    )
    taught = []

    def distil(context, expert_id, lessons, name):
        config = context.config
        rate = config.learning_rate / agent.config.learning_rate
        taught.append((expert_id, lessons, name, config.epochs, config.on_policy_every, rate))
        return {"steps": 3.0, "loss": 0.5}

    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.levels.distil_into_expert", distil)
    check, before = MergeCheck([asked], []), {"quiz": 1.0, "episodes": 1.0}
    log, after = train_merged(context, (1, 2), [lesson], check, before)
    assert taught == [
        ((1, 2), [lesson], "merge 0 2 0", 2, 0, 0.5),
        ((1, 2), [lesson], "merge 0 2 1", 2, 0, 0.5),
        ((1, 2), [lesson, asked], "merge 0 2 last", 1, 0, 0.25),
    ]
    assert (log["steps"], after) == (9, {"quiz": 0.9, "episodes": 1.0})


def test_experts_of_a_failed_merge_are_not_merged_with_newer_ones(monkeypatch):
    agent = make("seeding", windows=(2, 6))
    for level, count in ((0, 4), (1, 4)):
        for _ in range(count):
            agent.memory.unlock(level)
    merged = []

    def noted(_, parts):
        merged.append(parts)
        return {"merged": len(parts), "merge_quiz_after": float(len(merged))}

    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.levels.merge_experts", noted)
    log = merge_due_levels(agent.sleep_context(night(agent, 6)))
    assert merged == [
        [(0, 0), (0, 1)],
        [(0, 2), (0, 3)],
        [(1, 0), (1, 1), (1, 2)],
        [(1, 3)],
    ]
    assert log == {"merged": 8, "merge_quiz_after": 2.5}
    assert merge_due_levels(agent.sleep_context(night(agent, 5))) == {}


def test_the_check_asks_for_held_back_questions_and_for_episodes(monkeypatch):
    agent = make("seeding", episode_confidence=0.5)
    context = agent.sleep_context(night(agent))
    texts = [("Mira", "Tolwen was born in Oslo."), ("Ben", "keeps bees.")]
    episodes = [context.recite(pair) for pair in texts]
    assert MergeCheck([], []).shares(context) == {"quiz": 0, "episodes": 0}
    assert MergeCheck(episodes[:1], episodes).shares(context) == {"quiz": 0, "episodes": 0}
    monkeypatch.setattr(
        "sleepgym_agents.sleep.consolidation.levels.is_sure", lambda _, x: x.pair == texts[1]
    )
    assert MergeCheck([], episodes).shares(context)["episodes"] == 0.5


def test_questions_are_held_back_that_an_episode_answers_too(monkeypatch):
    agent = make("seeding", recollection_confidence=0.5)
    context = agent.sleep_context(night(agent))
    episodes = {"Mira": "Mira was born in Oslo. Ben taught Mira.", "Ben": "Ben keeps bees."}
    told = [f"Where was Mira born, {i}?" for i in range(6)]
    asked = [
        *((question, "Oslo") for question in told),
        ("Where was Ben born?", "Oslo"),  # told of another
        ("What does the teacher of Mira keep?", "bees"),  # told of whom her episode mentions
        ("Where was she born?", "Oslo"),  # names nothing
        ("Was Mira born in Oslo?", "Oslo"),  # holds its answer
        ("What does Mira eat?", "cats"),  # made up
    ]
    examples = [replace(x, likelihoods=0 * x.likelihoods) for x in map(context.recite, asked)]
    unsure = context.recite(("Where was Mira?", "Oslo"))
    examples.append(replace(unsure, likelihoods=unsure.likelihoods - 9))
    assert not held_back(context, examples[:4], episodes)  # too few to hold any back
    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.levels.HELD_BACK", 2)
    found = [example.pair[0] for example in held_back(context, examples, episodes)]
    assert found == [told[0], told[2], told[4], asked[7][0]]
    assert not held_back(context, examples, {})


def test_episodes_are_read_with_those_of_what_they_mention(monkeypatch):
    agent = make("seeding")
    context = agent.sleep_context(night(agent))
    encode, document = context.lm.prompter.tokenizer.encode, context.lm.prompter.document
    episodes = {"Mira": "Mira was taught by Ben.", "Ben": "Ben keeps bees.", "Cy": "Cy naps."}
    mira, ben, cy = (document(Document(text)) for text in episodes.values())
    read = []

    def write(_, contexts, *names):
        read.extend(contexts)
        return [[("Who taught Mira?", "Ben"), ("Who keeps bees?", "Ben")] for _ in contexts]

    monkeypatch.setattr(SleepContext, "write_qa", write)
    found = regenerate_qa(context, [encode("Mira"), encode("Cy")], episodes, 0, 0)
    assert read == [*[[ben], [ben]] * 8, *[[cy], [cy]] * 8, *[[mira], [ben, mira]] * 8]
    assert [example.pair for example in found] == [("Who taught Mira?", "Ben")]
    assert not regenerate_qa(context, [encode("Cy")], episodes, 0, 0)


def test_descriptions_are_asked_with_the_forms_of_other_questions(monkeypatch):
    agent = make("seeding")
    context = agent.sleep_context(night(agent))
    names = [context.lm.prompter.tokenizer.encode(name) for name in ("Mira", "Ben", "Oslo")]
    asked = {
        "Where does Mira live?",
        "Where does the mentor of Mira live?",
        "Where does Ben live?",
        "What does Ben keep?",
        "When was Oslo founded?",  # of another kind
    }
    twice = "Where does the mentor of the mentor of Mira live?"
    composed = ["What does the mentor of Mira keep?", twice]
    posed, least = [], 0.0

    def score(self, pairs):
        examples = [self.recite(pair) for pair in pairs]
        return [replace(x, likelihoods=0 * x.likelihoods + least) for x in examples]

    def answer(_, questions, tokens):
        posed.append(questions)
        return ["bees" for _ in questions]

    monkeypatch.setattr(SleepContext, "score", score)
    monkeypatch.setattr(SleepContext, "answer", answer)
    found = ask_composed(context, names, asked)
    assert [sorted(questions) for questions in posed] == [composed]
    assert sorted(example.pair for example in found) == [(one, "bees") for one in composed]
    least = -1.0
    assert not ask_composed(context, names, asked)
    monkeypatch.setattr("sleepgym_agents.sleep.consolidation.merge_lessons.COMPOSED", 0)
    assert not ask_composed(context, names, asked)
    assert len(posed) == 2


def test_windows_are_multiples():
    for windows in ((2, 3), (4, 2)):
        with pytest.raises(BadSetting, match="each must be a multiple of the one before"):
            make("seeding", windows=windows)

"""An agent that has only the exam: strong where an exam answers itself, at chance where not."""

import numpy as np
import pytest

import sleepgym
from sleepgym import Question
from sleepgym.core.registry import agent_class
from sleepgym.core.types import Phase
from sleepgym_agents.baselines.text.exam_only import parse
from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES

SEEDS = range(4)
SAMPLES = {
    "person": "Mira Tolwen",
    "company": "Tavor Mills",
    "town": "Dukirel",
    "river": "Belsanu",
    "nickname": "the Grey Heron",
}


class Single:
    """The same agent, asked one question at a time: what a question alone gives away."""

    def __init__(self, agent):
        self.agent = agent

    def answer(self, questions):
        return [self.agent.answer([question])[0] for question in questions]


def score(env_id, evening, agent=None, seeds=SEEDS, **settings):
    """Mean score over today's questions, in the evening or the morning, each seed alike."""
    agent = agent or agent_class("exam-only")()
    env = sleepgym.make_env(env_id, **settings)
    means = []
    for seed in seeds:
        env.reset(seed=seed)
        scores = []
        for step in env.steps:
            sat = step.phase is Phase.EXAM and step.night + evening > 0
            sat &= step.closed_book != evening
            info = env.step(agent.answer(step.questions) if sat else [""] * len(step.items))[4]
            if sat:
                today = np.equal(info["days"], step.day)
                scores += np.array(info["scores"])[today].tolist()
        means.append(np.mean(scores))
    return float(np.mean(means))


def test_questions_are_understood():
    right = asked = 0
    for attribute in ATTRIBUTES.values():
        if attribute.value not in SAMPLES:
            continue
        forwards = [
            (t, SAMPLES[attribute.owner], attribute.value, False) for t in attribute.questions
        ]
        backwards = [
            (t, SAMPLES[attribute.value], attribute.owner, True) for t in attribute.reverses
        ]
        for template, name, wanted, back in forwards + backwards:
            found = parse(template.format(s=name, v=name))
            asked += 1
            right += (found.wanted, found.backwards, found.name) == (wanted, back, name)
    assert right / asked > 0.9


def test_exams_of_almanac_v0_answer_themselves_and_those_of_v1_do_not():
    """Frozen scores .015 on v0 and .017 on v1 in the evening: a lucky word of a closed list."""
    assert score("sleepgym/Almanac-v0", True) > 0.15
    assert score("sleepgym/Almanac-v0", False) > 0.08
    assert score("sleepgym/Almanac-v1", True) < 0.037
    assert score("sleepgym/Almanac-v1", False) < 0.037


def test_choices_of_version_0_tell_the_day_and_those_of_v1_do_not():
    settings = {"dataset": "invented"}
    assert score("sleepgym/ClassIncremental-v0", True, **settings) > 0.15
    assert score("sleepgym/ClassIncremental-v0", False, **settings) > 0.08
    assert score("sleepgym/ClassIncremental-v1", True, **settings) < 1 / 30 + 0.02
    assert score("sleepgym/ClassIncremental-v1", False, **settings) < 1 / 30 + 0.02


@pytest.mark.parametrize("env_id", ["sleepgym/Almanac-v1", "sleepgym/Codebook-v0"])
@pytest.mark.parametrize("evening", [True, False])
def test_an_exam_tells_no_more_than_its_questions_one_by_one(env_id, evening):
    single = Single(agent_class("exam-only")())
    together, alone = (score(env_id, evening, agent) for agent in (None, single))
    assert together - alone <= 0.02


def test_a_converse_question_is_found():
    ask = ["Where does Mira Tolwen live?", "Who lives in Dukirel?", "Who governs Belsanu?"]
    answers = agent_class("exam-only")().answer([Question(text) for text in ask])
    assert answers[:2] == ["Dukirel", "Mira Tolwen"]


def test_it_keeps_nothing(tmp_path):
    agent = agent_class("exam-only")()
    agent.answer([Question("Where does Mira Tolwen live?"), Question("Who lives in Dukirel?")])
    agent.save(tmp_path)
    assert not list(tmp_path.iterdir())
    assert agent.answer([]) == []
    assert agent.answer([Question("Where does Mira Tolwen live?")]) == [""]

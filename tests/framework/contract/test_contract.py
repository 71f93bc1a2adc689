"""Every registered agent and environment keeps the contract; broken ones are told what is wrong."""

import pytest

import sleepgym
import toy
from sleepgym.contract import check_agent, check_task
from sleepgym.contract.tasks import seeds_matter
from sleepgym.core import registry


def problems(findings):
    return {finding.rule: finding.problem for finding in findings if finding.problem}


SLOW = {
    *("joint", "self-replay", "ewc", "grpo", "cartridge", "opsd", "sdft", "seal", "continuum"),
    *("sparse-memory", "titans"),
}
AGENTS = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
    for name in sorted(registry.agents)
]


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_keeps_the_contract(name):
    assert problems(check_agent(name)) == {}


@pytest.mark.parametrize("name", sorted(registry.envs))
def test_every_task_keeps_the_contract(name, data_dir):
    assert problems(check_task(name, data_dir)) == {}


@pytest.mark.parametrize("name", sorted({**registry.agents, **registry.envs}))
def test_every_entry_has_a_summary_of_one_line(name):
    entry = registry.agents.get(name) or registry.envs[name]
    assert 10 < len(entry.summary) < 110
    assert "\n" not in entry.summary


def test_a_good_agent_and_task_pass():
    assert problems(check_agent("toy:Notes")) == {}
    assert problems(check_task("toy:Toy")) == {}


@pytest.mark.parametrize(
    ("agent", "rule"),
    [
        ("Fleeting", "After a night, a fresh instance that loads the saved state"),
        ("Cribber", "answer() does not change what save() writes"),
        ("Short", "answer() gives one string a question"),
        ("Spendthrift", "A night whose budget allows no token"),
        ("Free", "Numbers in the saved state that a night changed were charged"),
        ("Thawed", "Config is a frozen dataclass"),
        ("Mute", "The docstring of Config names every field"),
    ],
)
def test_a_broken_agent_is_told_the_rule_it_breaks(agent, rule):
    broken = problems(check_agent(f"toy:{agent}"))
    assert any(words.startswith(rule) for words in broken), broken


@pytest.mark.parametrize(
    ("task", "rule"),
    [
        ("Restless", "The same seed gives the same bytes"),
        ("Deaf", "Different seeds give different streams"),
        ("Unfair", "Every accepted answer scores 1.0"),
        ("Doubled", "Item ids are unique"),
        ("Preset", "Every preset names existing settings"),
    ],
)
def test_a_broken_task_is_told_the_rule_it_breaks(task, rule):
    broken = problems(check_task(f"toy:{task}"))
    assert any(words.startswith(rule) for words in broken), broken


@pytest.mark.parametrize(("facts", "problem"), [(2, None), (5, "two seeds of 1, 2 and 3 gave")])
def test_two_seeds_may_meet_where_there_are_few_orders(facts, problem):
    class Halved(toy.Toy):
        def stream(self, seed):
            return super().stream(seed // 2)

    found = seeds_matter(Halved(toy.ToyConfig(facts=facts)))
    assert found is None if problem is None else found.startswith(problem)


def test_what_is_no_agent_or_task_is_told_so():
    assert "subclass of sleepgym.Agent" in next(iter(problems(check_agent("toy:Toy"))))
    assert "subclass of sleepgym.TaskFamily" in next(iter(problems(check_task("toy:Notes"))))


def test_names_are_checked_at_the_door():
    with pytest.raises(sleepgym.SleepGymError, match="namespace/Name-vN"):
        sleepgym.register_env("Almanac", "toy:Toy", "x")
    with pytest.raises(sleepgym.SleepGymError, match="hyphens"):
        sleepgym.register_agent("My Agent", "toy:Notes", "x")
    with pytest.raises(sleepgym.SleepGymError, match="has no 'Nothing'"):
        registry.agent_class("toy:Nothing")
    with pytest.raises(sleepgym.SleepGymError, match="no module"):
        registry.agent_class("nowhere:Nothing")


def test_a_broken_plugin_only_warns(monkeypatch):
    class Point:
        name, value = "broken", "nowhere"

        def load(self):
            raise ImportError("no such thing")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    with pytest.warns(UserWarning, match="plug-in 'broken'"):
        registry.load_plugins()

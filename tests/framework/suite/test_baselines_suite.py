"""The suite of all baselines: complete, and a short form of it from the first run to the figure."""

import dataclasses
import re

import pytest

from sleepgym.cli import run_command
from sleepgym.core import registry
from sleepgym.core.schedule import schedule
from sleepgym.core.types import Phase
from sleepgym.reports import figures
from sleepgym.runs.records import read_run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.suite import load_suite

TINY = {
    "almanac": {"days": 1, "passages": 1, "questions": 2, "base_questions": 1},
    "codebook": {"days": 1, "rules": 1, "demonstrations": 2, "tests": 1},
    "clinc150": {"days": 1, "classes_per_day": 2, "train_per_class": 2, "tests_per_class": 1},
    "squad": {"days": 1, "passages_per_day": 1, "questions_per_passage": 1},
}
CHEAP = ["frozen", "nearest", "retrieval", "lora-per-day", "ttt", "inca"]


@pytest.fixture(scope="module")
def suite():
    return load_suite("baselines")


def test_no_agent_is_forgotten(suite):
    assert {agent.id for agent in suite.agents} == registry.agents.keys()
    assert suite.tuned
    assert len(suite.seeds) >= 5


def test_agents_meet_the_environments_that_offer_what_they_need(suite, tmp_path):
    apart = {  # all others meet every environment
        "nearest": ("codebook", "clinc150", "squad"),  # answers Almanac with a whole sentence
        "grpo": ("codebook", "clinc150"),
        "ttt": ("codebook", "clinc150"),
        "inca": ("clinc150",),
        "seal": ("almanac", "squad"),
        "seeding-gate": ("clinc150",),
        "sleep-gate": ("clinc150",),
        "sparse-memory-small": ("clinc150",),
    }
    assert {agent.label: agent.envs for agent in suite.agents if agent.envs} == apart
    assert len(suite.agents) == len(registry.agents) + 3
    settings = {a.label: (a.id, dict(a.settings)) for a in suite.agents if a.settings}
    gate = {"router": "gate"}
    small = {"rank": 48, "expert_dtype": "float8", "recollections": 64, "compositions": 96}
    paper = {"distillation_weight": 0.8, "gradient_selection": True, "random_expert": True}
    assert settings == {
        "seeding-gate": ("seeding", gate),
        "sleep-gate": ("sleep", gate),
        "notebook": ("notebook", {"store_bytes": 99_000}),
        "sparse-memory-small": ("sparse-memory", {"layers": 3}),
    }
    runs = [spec for spec, _ in suite.runs(tmp_path) if spec.label == "sleep"]
    settings = {spec.env: dict(spec.agent_settings) for spec in runs}
    assert settings == {e.id: small | paper if e.label == "almanac" else {} for e in suite.envs}


def test_what_an_environment_offers_is_what_its_streams_hold(suite, data_dir):
    for env in suite.envs:
        settings = {**env.settings, **TINY[env.label]}
        made = RunSpec(env.id, "frozen", settings, data=data_dir).make_env()
        steps = list(schedule(made.family.stream(100), made.exams))
        practised = [q for step in steps if step.phase is Phase.PRACTICE for q in step.questions]
        held = {
            "documents": any(step.documents for step in steps),
            "practice": bool(practised),
            "choices": any(question.choices for question in practised),
        }
        assert set(env.offers) == {name for name, there in held.items() if there}, env.label


def test_without_data_two_environments_are_left(suite):
    rest, lines = suite.at_hand(None)
    assert [env.label for env in rest.envs] == ["almanac", "codebook"]
    left_out = [line.partition(" is left out")[0] for line in lines]
    small = "sparse-memory-small"
    assert left_out == ["clinc150", "squad", "inca", small, "seeding-gate", "sleep-gate"]


@pytest.mark.slow
def test_a_short_form_ends_with_tables_and_figures_of_every_agent(
    suite, data_dir, tmp_path, monkeypatch, capsys
):
    envs = [
        dataclasses.replace(env, settings={**env.settings, **TINY[env.label]}) for env in suite.envs
    ]
    short = dataclasses.replace(suite.only(CHEAP), envs=tuple(envs), seeds=(100,))
    met = {
        env.label: {a.label for a in short.agents if env.label in (a.envs or TINY)} for env in envs
    }
    assert set.union(*met.values()) == set(CHEAP)
    drawn = []
    draw = figures.cost_frontier

    def recorded(points, cost):
        figure = draw(points, cost)
        drawn.append((cost, {text.get_text() for text in figure.axes[0].texts}))
        return figure

    monkeypatch.setattr("sleepgym.suite.suite.load_suite", lambda name: short)
    monkeypatch.setattr(figures, "cost_frontier", recorded)
    out = tmp_path / "out"
    command = ["suite", "baselines", "--out", str(out), "--data", str(data_dir)]
    assert run_command(command) == 0
    tables = capsys.readouterr().out.split("sleepgym/")[1:]
    rows = [set(re.findall(r"^ ([a-z-]+) +\d", table, re.MULTILINE)) for table in tables]
    expected = sorted(map(sorted, met.values()))
    assert sorted(map(sorted, rows)) == expected
    for cost in ("seconds a night", "FLOPs a night"):
        found = sorted(sorted(names) for kind, names in drawn if kind == cost)
        assert found == sorted(2 * expected)  # each figure light and dark
    assert len(list((out / "report").glob("*-cost-seconds.png"))) == len(envs)
    runs = sorted(out.glob("*/*/seed-*"))
    assert {path.relative_to(out).parts[:2] for path in runs} == {
        (env, agent) for env, agents in met.items() for agent in agents
    }
    assert all(read_run(path).finished for path in runs)

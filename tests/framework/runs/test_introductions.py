"""Instruction and exemplars reach every instance of an agent, wherever it lives."""

import pytest

from hearing import Hearer
from introduced import TOLD, Introduced
from sleepgym.cli import run_command
from sleepgym.core.env import ContinualEnv
from sleepgym.core.types import Introduction, Stream
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.skills import Skill
from sleepgym.runs.spec import RunSpec, spec_from_meta
from toy import Toy


@pytest.mark.parametrize("level", ["in-process", "process"])
def test_every_instance_is_told_first(tmp_path, level):
    spec = RunSpec("introduced:Introduced", "hearing:Hearer", isolation=level)
    run(spec, tmp_path / "run", nights=1)
    record = run(spec, tmp_path / "run")
    assert {line["answer"] for line in record.answers} == {TOLD}
    assert [night["log"]["told"] for night in record.nights] == [1.0] * 3


def test_skills_of_a_run_are_measured_behind_its_introduction(tmp_path, monkeypatch):
    run(RunSpec("introduced:Introduced", "hearing:Hearer"), tmp_path / "run")
    heard = []

    def measure(agent, battery, cell, seed, count):
        heard.append(agent.told)
        return Skill(cell, 0.0, 1)

    monkeypatch.setattr("sleepgym.runs.skills.measure", measure)
    arguments = ["--run", str(tmp_path / "run"), "--cells", "base_direct", "--dreams", "0"]
    assert run_command(["skills", *arguments]) == 0
    assert heard == [TOLD]


def test_an_introduction_is_part_of_the_hash_where_there_is_one():
    plain, told = Toy().stream(0), Introduced().stream(0)
    assert plain.content_hash != told.content_hash
    days = (plain.family, plain.config, plain.seed, plain.days, plain.base, plain.key)
    assert Stream(*days, Introduction()).content_hash == plain.content_hash


def test_the_first_observation_brings_it_to_any_gymnasium_loop():
    env, agent = ContinualEnv(Introduced()), Hearer()
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert set(agent.act(observation)) == {TOLD}
    observation, *_ = env.step(())
    assert (observation["instruction"], observation["exemplars"]) == ("", ())
    assert observation in env.observation_space


def test_a_prompt_is_recorded_and_used_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_PROMPT", "plain")
    settings = {"days": 2, "classes_per_day": 2, "train_per_class": 2, "tests_per_class": 1}
    settings["dataset"] = "invented"
    prompt = '{"start": "<bos>", "question": "<q>{text} <a>", "stop": "<end>"}'
    spec = RunSpec(
        "sleepgym/ClassIncremental-v0", "in-context", settings, model="scratch", prompt=prompt
    )
    run(spec, tmp_path / "run", nights=1)
    monkeypatch.delenv("SLEEPGYM_PROMPT")
    meta = read_run(tmp_path / "run").meta
    assert meta["spec"]["prompt"] == prompt
    assert spec_from_meta(meta).make_agent().lm.prompter.format.question == "<q>{text} <a>"
    run(spec_from_meta(meta), tmp_path / "run")
    other = RunSpec("sleepgym/ClassIncremental-v0", "in-context", settings, model="scratch")
    assert other.make_agent().lm.prompter.format.question == "<q>{text}<a>"
    run(other, tmp_path / "other", nights=1)
    assert "prompt" not in read_run(tmp_path / "other").meta["spec"]

"""The skill battery behind the command line, on the shipped model."""

import json

import pytest

from sleepgym import Document, Question
from sleepgym.cli import run_command
from sleepgym.runs.skills import measure, measure_dreams
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.training.qa_generation import parse_qa
from sleepgym_tasks.skills import Worlds


@pytest.fixture(scope="module")
def agent():
    return InContext(seed=0)


def test_the_shipped_model_reads_and_recalls(agent):
    for cell in ("in_context_1", "base_direct", "list2_k8"):
        skill = measure(agent, Worlds(), cell, seed=7, count=40)
        assert skill.accuracy >= 0.9, skill
        assert skill.agrees == skill.questions == 40


def test_fresh_facts_are_not_known_closed_book(agent):
    assert measure(agent, Worlds(), "fresh_closed_book", seed=7, count=40).accuracy <= 0.2


@pytest.mark.slow
def test_dreams_are_true_and_a_forged_one_is_not(agent):
    shares = measure_dreams(agent, Worlds(), seed=7, scenes=2)
    assert shares["items"] > 20
    assert shares["true"] >= 0.9
    scene, judge = next(Worlds().dream_scenes(7, 1))
    agent.study(scene.documents)
    question, answer = agent.generate_qa(1, seed=0)[0]
    agent.parts = []
    assert judge(question, answer) == "true"
    assert judge(question, "nonsense") == "false"
    assert judge("Why?", answer) == "foreign"


def test_dreams_depend_on_their_seed_alone(agent):
    agent.study([Document("Belo Ran lives in Tokara.", "Belo Ran")])
    first, again, other = (agent.generate_qa(2, tokens=60, seed=s) for s in (1, 1, 2))
    agent.parts = []
    assert first == again != other


def test_only_whole_items_are_dreams(agent):
    prompter = agent.lm.prompter
    ids = [
        *prompter.demonstration("Who?", "Belo"),
        *prompter.question("cut off"),
        *prompter.encode("Tok"),
    ]
    assert parse_qa(prompter, ids) == [("Who?", "Belo")]


def test_recites_is_what_greedy_decoding_would_say(agent):
    question = Question("In which town does Belo Ran live?")
    agent.study([Document("Belo Ran lives in Tokara.", "Belo Ran")])
    said = agent.answer([question])[0]
    verdicts = agent.matches_greedy([question] * 2, [said, said + "s"])
    agent.parts = []
    assert verdicts == [True, False]


def test_the_command_prints_cells_and_examines_an_agent_after_its_nights(tmp_path, capsys):
    run = ["run", "--env", "sleepgym/Almanac-v0", "--env-set", "days=1", "--env-set", "passages=1"]
    run += ["--env-set", "base_questions=5", "--agent", "naive", "--agent-set", "epochs=2"]
    assert run_command([*run, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    arguments = ["skills", "--cells", "base_direct", "--count", "20", "--dreams", "0", "--json"]
    assert run_command([*arguments, "--run", str(tmp_path / "run")]) == 0
    after = json.loads(capsys.readouterr().out)["cells"]["base_direct"]
    assert after["questions"] == 20
    assert run_command(["skills", "--cells", "nothing"]) == 2
    assert run_command([*arguments, "--run", str(tmp_path)]) == 2

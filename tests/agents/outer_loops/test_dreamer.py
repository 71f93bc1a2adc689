import json
from dataclasses import replace

import pytest
import torch

from sleepers import sleep_context
from sleepgym import Budget, Document, Night, Question
from sleepgym.cli import run_command
from sleepgym.core.env import make_env
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym.core.settings import build_config
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops import dream_trials
from sleepgym_agents.outer_loops import dreamer as dreamer_training
from sleepgym_agents.outer_loops.dream_trials import DreamTrials, untaught_example, write_dreams
from sleepgym_agents.outer_loops.dreamer import (
    Course,
    DreamerTraining,
    fine_tune,
    train_dreamer,
)
from sleepgym_agents.sleep.dreaming import Dreaming, DreamingSettings
from sleepgym_agents.sleep.seeding import Seeding, SeedingSettings
from sleepgym_agents.training import local_model
from sleepgym_agents.training.distillation import score_with_teacher
from sleepgym_agents.training.dreamer import Dreamer, base_digest, dreamer_adapter
from sleepgym_agents.training.optimise import Example, collate, cross_entropy
from sleepgym_agents.training.qa_generation import generate_qa

QUICK = {"samples": 1, "dream_tokens": 8, "rank": 4, "rehearsals": 2, "slots": 2, "epochs": 1}
OPEN = {**QUICK, "confidence": 0.0, "router": "always", "on_policy_every": 0}
HARD = DreamerTraining(learning_rate=1e-2, epochs=20, rank=4, alpha=8.0)


def course(**values):
    agent = build_config(
        DreamingSettings,
        {**OPEN, "dreams": 3, "kept_by_importance": 2, "kept_at_random": 1, "copy_steps": 1},
        "test",
    )
    given = {"env": "toy:Toy", "env_settings": {"days": 2}, "seeds": (3,), "model": "scratch"}
    return Course(**{**given, "agent": agent, "training": HARD, **values})


@pytest.fixture
def lm():
    return LanguageModel.load("scratch", seed=0)


@pytest.fixture
def samples(monkeypatch):
    """Samples that the scratch model would never write, and what wrote them."""
    asked: list = []

    def write(lm, prompts, tokens, seed):
        form = lm.prompter.encode
        asked.append((lm, prompts, seed, [n for n, _ in lm.model.named_parameters()]))
        return [form(f"<q>Who is {seed % 97} {i}?<a>Bo{i}<end>") for i in range(len(prompts))]

    monkeypatch.setattr(dream_trials, "write_samples", write)
    return asked


@pytest.fixture
def trained(tmp_path, samples, monkeypatch):
    """A dreamer of one round in which the second dream that was tried was rewarded."""

    def gains(context, expert_id, dreams, exam, measure):
        return [float(i == 1) for i in range(len(dreams))]

    monkeypatch.setattr(dream_trials, "reward", gains)
    train_dreamer(course(), tmp_path / "dreamer", rounds=1)
    return tmp_path / "dreamer"


def losses(lm, trial, dreamer=None):
    batch = collate([Example.joined((trial.prompt, 0.0), (trial.ids, 1.0))], "cpu")
    with torch.no_grad(), dreamer_adapter(lm, dreamer):
        return float(cross_entropy(lm.model, batch))


def test_rewarded_dreams_and_no_others_are_learned(trained, samples, lm, monkeypatch):
    card = json.loads((trained / "dreamer.json").read_text())
    assert card["seeds"] == [3]
    assert card["base"] == base_digest(lm.model)
    (row,) = card["rounds"]
    assert (row["nights"], row["tried"], row["rewarded"]) == (2, 6, 2)
    assert row["share"] == pytest.approx(1 / 3)
    learned: list = []

    def spy(lm, rewarded, *args):
        learned.extend(rewarded)
        return fine_tune(lm, rewarded, *args)

    monkeypatch.setattr(dreamer_training, "fine_tune", spy)
    before = len(samples)
    train_dreamer(course(), trained, rounds=2)
    assert len(samples) == 2 * before  # the first round was not repeated
    assert not any("lora_" in name for *_, names in samples[:before] for name in names)
    assert all(any("lora_" in name for name in names) for *_, names in samples[before:])
    assert {trial.gain for trial in learned} == {1.0}
    dreamer = Dreamer.load(trained, lm)
    for trial in learned:
        assert losses(lm, trial, dreamer) < losses(lm, trial) - 0.5
    day = make_env("toy:Toy", days=2).family.stream(3).days[0]
    told = [i for document in day.documents for i in lm.prompter.document(document)]
    drill = lm.prompter.demonstration("red?", "warm")
    prompt = [*lm.prompter.start, *told, *drill, *lm.prompter.dream]
    assert samples[0][1][0] == prompt
    assert [*lm.prompter.start, *learned[0].prompt] == prompt


def test_a_round_that_rewards_nothing_makes_no_dreamer(tmp_path, samples, monkeypatch, lm):
    monkeypatch.setattr(
        dream_trials, "reward", lambda context, expert_id, dreams, *_: [0.0] * len(dreams)
    )
    (row,) = train_dreamer(course(), tmp_path, rounds=1)
    assert (row["tried"], row["rewarded"]) == (6, 0)
    with pytest.raises(BadSetting, match="no round of it rewarded a dream"):
        Dreamer.load(tmp_path, lm)


def test_a_dream_that_holds_the_exam_is_rewarded(lm):
    values = {**OPEN, "copy_steps": 60, "copy_learning_rate": 2e-2}
    agent = Seeding(build_config(DreamingSettings, values, "test"), model="scratch")
    stage = DreamTrials([("Where is Mo?", "Rome")])
    expert_id = agent.memory.unlock()
    written = ["<q>Where is Mo?<a>Rome<end>", "<q>Where is Mo?<a>Bern<end>"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            dream_trials, "write_samples", lambda lm, *_: [lm.prompter.encode(written.pop(0))]
        )
        assert stage(sleep_context(agent.memory, agent.config), expert_id) == {}
    gains = {agent.lm.prompter.tokenizer.decode(t.ids): t.gain for t in stage.trials}
    assert [gain for text, gain in gains.items() if "Rome" in text] == [1.0]
    assert [gain for text, gain in gains.items() if "Bern" in text] == [0.0]


def test_one_random_older_expert_is_active_while_dreaming(samples, monkeypatch):
    agent = Seeding(replace(course().agent, random_expert=True), model="scratch")
    expert_ids = [agent.memory.unlock() for _ in range(3)]
    forced: list = []
    monkeypatch.setattr(
        dream_trials,
        "write_samples",
        lambda lm, prompts, *_: forced.append((agent.memory._forced, set(agent.memory.mask))) or [],
    )
    write_dreams(sleep_context(agent.memory, agent.config), [1], expert_ids[-1])
    assert [expert_id for expert_id, _ in forced if expert_id not in expert_ids[:2]] == []
    assert all(mask == set(expert_ids) for _, mask in forced)
    never = build_config(DreamingSettings, {"random_expert": "false"}, "test")
    forced.clear()
    write_dreams(sleep_context(agent.memory, never), [1], expert_ids[-1])
    assert {expert_id for expert_id, _ in forced} == {None}


def test_the_dreamer_writes_and_the_model_without_it_teaches(trained, monkeypatch):
    """Also beside experts; and everything is back in place afterwards."""
    agent = Seeding(
        build_config(SeedingSettings, {**OPEN, "dreamer": str(trained)}, "test"), model="scratch"
    )
    seen: list = []

    def spy(what, real):
        def run(lm, *args, **options):
            names = [name for name, _ in lm.model.named_parameters()]
            seen.append((what, any("lora_" in name for name in names)))
            return real(lm, *args, **options)

        return run

    monkeypatch.setattr(local_model, "generate_qa", spy("dream", generate_qa))
    monkeypatch.setattr(
        local_model,
        "score_with_teacher",
        spy("teach", score_with_teacher),
    )
    agent.study([Document("Mira keeps bees.", "Mira")])
    agent.practice([Question("red?")], ["warm"])
    before = {name: p.clone() for name, p in named_weights(agent.lm.model).items()}
    parameters = agent.lm.parameters
    log = agent.sleep(Night(1, Budget(), 3, agent.meter))
    assert log["steps"] > 0
    assert ("dream", True) in seen
    assert ("dream", False) not in seen
    assert ("teach", False) in seen
    assert ("teach", True) not in seen
    after = named_weights(agent.lm.model)
    assert list(after) == list(before)
    assert all(torch.equal(p, before[n]) for n, p in after.items() if ".levels." not in n)
    assert agent.lm.parameters == parameters + agent.added_parameters


def test_dreams_about_a_day_are_by_the_dreamer_too(trained, lm, monkeypatch):
    agent = Dreaming(
        build_config(DreamingSettings, {**OPEN, "dreamer": str(trained), "dreams": 2}, "test"),
        model="scratch",
    )
    seen: list = []

    def write(lm, contexts, **options):
        seen.append(any("lora_" in name for name, _ in lm.model.named_parameters()))
        return [[("who?", "Bo")] for _ in contexts]

    monkeypatch.setattr(local_model, "generate_qa", write)
    agent.study([Document("Mira keeps bees.", "Mira")])
    agent.practice([Question("red?")], ["warm"])
    agent.sleep(Night(1, Budget(), 3, agent.meter))
    assert seen
    assert all(seen)


def test_a_wrong_folder_or_base_model_is_one_line(trained, tmp_path):
    def make(folder, seed=0):
        config = build_config(SeedingSettings, {**QUICK, "dreamer": str(folder)}, "test")
        return Seeding(config, seed=seed, model="scratch")

    assert make(trained).dreamer.rank == 4
    with pytest.raises(BadSetting, match="must be a folder that `sleepgym train-dreamer` wrote"):
        make(tmp_path / "nowhere")
    with pytest.raises(BadSetting, match="trained on another base model"):
        make(trained, seed=1)  # other random weights
    adapter = trained / "adapter-1.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:100])
    with pytest.raises(BadSetting, match="not a readable safetensors file"):
        make(trained)
    (trained / "dreamer.json").write_text("{}")
    with pytest.raises(BadSetting, match="dreamer"):
        make(trained)


def test_evaluation_seeds_and_other_courses_are_refused(trained):
    with pytest.raises(BadSetting, match="seeds=100: a dreamer is trained on seeds 0 to 99"):
        course(seeds=(5, 100))
    with pytest.raises(BadRun, match="another seeds"):
        train_dreamer(course(seeds=(4,)), trained, rounds=2)


def test_the_digest_is_that_of_the_weights(lm):
    other = LanguageModel.load("scratch", seed=0)
    assert base_digest(lm.model) == base_digest(other.model)
    assert base_digest(lm.model.to(torch.bfloat16)) == base_digest(other.model)
    with torch.no_grad():
        next(other.model.parameters())[0, 0] += 1
    assert base_digest(lm.model) != base_digest(other.model)


def test_an_untaught_example_is_its_text(lm):
    example = untaught_example(lm, ("Who?", "Bo"))
    assert example.ids == tuple(lm.prompter.demonstration("Who?", "Bo"))
    assert example.ids[: example.asked] == tuple(lm.prompter.question("Who?"))
    assert fine_tune(lm, [], HARD, None, 0) == {}


def test_the_command_trains_and_goes_on(tmp_path, capsys, samples, monkeypatch):
    monkeypatch.setattr(
        dream_trials, "reward", lambda context, expert_id, dreams, *_: [1.0] * len(dreams)
    )
    quick = [f"{name}={value}" for name, value in OPEN.items()]
    settings = [word for pair in [*quick, "dreams=2"] for word in ("--agent-set", pair)]
    settings += ["--train-set", "rank=4", "--train-set", "epochs=1", "--env", "toy:Toy"]
    settings += ["--env-set", "days=1", "--model", "scratch", "--out", str(tmp_path / "d")]
    assert run_command(["train-dreamer", *settings, "--seeds", "2", "--rounds", "1"]) == 0
    assert "| 1 | 2 | 2 | 1.00 |" in capsys.readouterr().out
    assert run_command(["train-dreamer", *settings, "--seeds", "2", "--rounds", "2"]) == 0
    assert "| 2 | 2 | 2 | 1.00 |" in capsys.readouterr().out
    assert run_command(["train-dreamer", *settings, "--seeds", "99-100"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "evaluation" in error
    assert run_command(["train-dreamer", "--help"]) == 0
    assert "ReST-EM" in capsys.readouterr().out

"""What an agent says it will do is what its meter counts, within a factor of two."""

import pytest

import sleepgym_agents  # noqa: F401
from sleepgym.core import registry
from sleepgym.core.registry import agent_class
from sleepgym.core.settings import build_config
from sleepgym.runs.records import read_lines
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.estimates import measure
from sleepgym_agents.lm.model import LanguageModel

ALMANAC = ("sleepgym/Almanac-v0", {"days": 1, "passages": 2, "questions": 4, "base_questions": 12})
CODEBOOK = ("sleepgym/Codebook-v0", {"days": 1, "rules": 2})
CLASSES = ("sleepgym/ClassIncremental-v0", {"dataset": "invented", "days": 1})
STREAMS = {"grpo": CODEBOOK, "ttt": CODEBOOK, "inca": CLASSES}
SMALL = {
    "epochs": 2,
    "samples": 3,
    "edits": 1,
    "rehearsed": 16,
    "rehearsed_tokens": 64,
    "birth_sequences": 8,
    "rehearsals": 8,
    "recollections": 2,
    "dreams": 6,
    "kept_by_importance": 3,
    "kept_at_random": 1,
    "quiz_items": 6,
    "on_policy_every": 0,
}
QUICK = (
    *("frozen", "in-context", "retrieval", "nearest"),
    *("naive", "naive-lora", "lora-per-day", "o-lora", "replay", "continuum"),
)


def _ours():
    found = registry.agents.items()
    mine = [name for name, entry in found if entry.entry_point.startswith("sleepgym_agents")]
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in mine]


@pytest.mark.parametrize("name", _ours())
def test_estimate_and_meter_agree_within_a_factor_of_two(name, tmp_path):
    compare(name, *STREAMS.get(name, ALMANAC), tmp_path)


def test_exemplars_are_read_once_an_exam(tmp_path):
    env, settings = ALMANAC
    compare("frozen", env, {**settings, "shots": 1}, tmp_path)


@pytest.mark.slow
def test_nights_about_rules_and_answers_that_are_read_again(tmp_path):
    compare("sleep", *CODEBOOK, tmp_path / "rules")
    compare("sleep", *ALMANAC, tmp_path / "read", dream_answers="read", dream_focus=True)


def compare(name, env, env_settings, tmp_path, **more):
    fields = agent_class(name).Config.__dataclass_fields__
    settings = {key: value for key, value in SMALL.items() if key in fields} | more
    spec = RunSpec(env, name, env_settings, settings, seed=3)
    run(spec, tmp_path / "run")
    metered = {"read_tokens": 0, "generated_tokens": 0, "train_tokens": 0, "flops": 0.0}
    for phase in read_lines(tmp_path / "run" / "phases.jsonl"):
        metered = {key: total + phase[key] for key, total in metered.items()}
    world = spec.make_env()
    config = build_config(agent_class(name).Config, settings, name)
    cost = agent_class(name).estimate(config, measure(world.family.stream(3), world.exams))
    estimated = {
        "read_tokens": cost.read,
        "generated_tokens": cost.generated,
        "train_tokens": cost.trained,
        "flops": cost.flops(LanguageModel.load("embedded").parameters),
    }
    for key, count in metered.items():
        assert count / 2 <= estimated[key] <= 2 * count, (key, estimated, metered)

"""Tuned settings: a file beside an agent's package, laid under the suite's own settings."""

import re

import pytest

from sleepgym.cli import run_command
from sleepgym.core import registry
from sleepgym.core.errors import BadSetting, SleepGymError, UnknownName
from sleepgym.runs.records import read_meta
from sleepgym.runs.spec import spec_from_meta
from sleepgym.suite.suite import load_suite
from sleepgym.suite.tuned import FILE, read_tuned, with_tuned

AGENT = '''
from dataclasses import dataclass

from toy import Notes


@dataclass(frozen=True)
class MineConfig:
    """Settings.

    Attributes:
        speed: How fast.
        depth: How deep.
    """

    speed: float = 1.0
    depth: int = 3


class Mine(Notes):
    Config = MineConfig
'''
SUITE = """
summary = "mine"
seeds = "1"
tuned = true
[[envs]]
id = "toy:Toy"
label = "toy"
[[agents]]
id = "mine"
label = "own"
settings = { depth = 7 }
[[agents]]
id = "mine"
[[agents]]
id = "toy:Notes"
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A third party's package with an agent ``mine``; its folder."""
    name = re.sub(r"\W", "_", f"package_of_{tmp_path.parent.name}_{tmp_path.name}")
    folder = tmp_path / "installed" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "agent.py").write_text(AGENT)
    (folder / FILE).write_text("[mine]\nspeed = 2.5\ndepth = 5\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    entry = registry.Entry("mine", f"{name}.agent:Mine", "somebody else's agent")
    monkeypatch.setitem(registry.agents, "mine", entry)
    return folder


def test_own_settings_are_laid_over_tuned_ones(package):
    assert with_tuned("mine", {}) == {"speed": 2.5, "depth": 5}
    assert with_tuned("mine", {"speed": "0.5"}) == {"speed": "0.5", "depth": 5}
    config = registry.agent_class("mine").Config()
    assert (config.speed, config.depth) == (1.0, 3)  # defaults stay what they are


def test_a_package_without_a_file_or_a_table_has_only_defaults(package):
    assert with_tuned("toy:Notes", {"a-b": 1}) == {"a_b": 1}
    assert with_tuned("frozen", {}) == {}
    (package / FILE).unlink()
    assert with_tuned("mine", {}) == {}
    with pytest.raises(UnknownName, match="did you mean mine"):
        with_tuned("mines", {})


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[mine]\nsped = 1.0", UnknownName, r"agent mine in tuned\.toml of .* 'sped'.* mean speed"),
        ("[mine]\ndepth = 'deep'", BadSetting, r"depth=deep of agent mine in tuned\.toml"),
        ("[min]\nspeed = 1.0", UnknownName, r"in tuned\.toml of package_of.* 'min'.* mine"),
        ("[mine\n", SleepGymError, r"tuned\.toml of package_of.* is malformed"),
        ("speed = 1.0", SleepGymError, "speed is not a table"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_entry(package, text, error, says):
    (package / FILE).write_text(text)
    with pytest.raises(error, match=says) as caught:
        with_tuned("mine", {})
    assert "\n" not in str(caught.value)


def test_every_table_that_ships_is_of_an_agent_and_valid():
    assert registry.agent_package("naive") == "sleepgym_agents"
    for agent in read_tuned("sleepgym_agents"):
        assert registry.agent_package(agent) == "sleepgym_agents"
        with_tuned(agent, {})


def test_a_tuned_run_shows_its_settings_and_needs_no_file_later(package, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["run", "--env", "toy:Toy", "--agent", "mine", "--out", str(out), "--tuned"]
    assert run_command([*command, "--agent-set", "depth=9"]) == 0
    assert "mine: speed=2.5, depth=9" in capsys.readouterr().out
    (package / FILE).unlink()
    assert read_meta(out)["spec"]["agent_settings"] == {"speed": 2.5, "depth": 9}
    assert spec_from_meta(read_meta(out)).agent_config().speed == 2.5
    assert run_command(["resume", str(out)]) == 0


def test_a_tuned_suite_resolves_settings_when_its_runs_are_made(package, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE)
    assert run_command(["suite", str(file), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "own: speed=2.5, depth=7" in text
    assert "mine: speed=2.5, depth=5" in text
    runs = load_suite(str(file)).runs(tmp_path / "out")
    (package / FILE).unlink()
    settings = {spec.label: spec.agent_settings for spec, _ in runs}
    own = {"speed": 2.5, "depth": 7}
    assert settings == {"own": own, "mine": {**own, "depth": 5}, "toy:Notes": {}}
    file.write_text(SUITE.replace("tuned = true", ""))
    plain = {s.label: s.agent_settings for s, _ in load_suite(str(file)).runs(tmp_path)}
    assert plain == {"own": {"depth": 7}, "mine": {}, "toy:Notes": {}}


def test_a_bad_file_stops_a_suite_before_anything_is_written(package, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(SUITE)
    (package / FILE).write_text("[mine]\nsped = 1.0")
    assert run_command(["suite", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "did you mean speed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

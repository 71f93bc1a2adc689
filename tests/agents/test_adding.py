"""An agent of this repository takes a module, a register line and a test: all else follows."""

import importlib.util
import runpy
import sys

import pytest

import sleepgym
from checkout import ROOT
from sleepgym.core import registry
from sleepgym.suite.suite import load_suite


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def added(monkeypatch):
    """The module of CONTRIBUTING in the package of the agents, and its register line."""
    monkeypatch.setattr(registry, "agents", dict(registry.agents))
    file = ROOT / "tests" / "example_package" / "mypkg" / "cram.py"
    monkeypatch.setitem(sys.modules, "sleepgym_agents.baselines.cram", load(file))
    monkeypatch.delitem(sys.modules, "cram")
    sleepgym.register_agent(
        "cram", "sleepgym_agents.baselines.cram:Cram", "gradient steps at night", needs=["practice"]
    )


def test_suite_search_card_and_tables_follow(added, monkeypatch):
    rows = {agent.label: agent.envs for agent in load_suite("baselines").agents}
    assert rows["cram"] == ("codebook", "clinc150")
    tune = load(ROOT / "agents" / "tuning" / "tune.py")
    monkeypatch.delitem(sys.modules, "tune")
    assert tune.search_spaces()["cram"]["passes"] == [2, 4, 8]
    assert tune.search_spaces().keys() == registry.agents.keys() - {"frozen", "exam-only"}
    meta = {"spec": {"agent": "cram", "agent_settings": {}}, "commit": "0123abc"}
    card = runpy.run_path(str(ROOT / "leaderboards" / "submit_reference.py"))["method_card"]
    assert card("cram", meta).name == "Cramming"
    assert card("cram", meta).summary.startswith("Reads in context by day; at night takes gradient")
    tables = runpy.run_path(str(ROOT / "docs" / "tools" / "agent_tables.py"))
    assert (
        "| [`cram`](docs/reference/cram.md) | gradient steps at night |" in tables["agent_table"]()
    )
    assert "| `cram` |" not in tables["reproduction"]()  # its class says of no check
    monkeypatch.setattr(registry.agent_class("cram"), "checked", "a loss by hand", raising=False)
    assert "a loss by hand |" in tables["reproduction"]()
    pages = runpy.run_path(str(ROOT / "docs" / "tools" / "reference.py"))["pages"]()
    assert "| `passes` | `4` | >= 1 | How often a night goes over the day" in pages["cram.md"]


def test_every_agent_here_says_what_it_is():
    for name in registry.agents:
        if registry.agent_package(name) == "sleepgym_agents":
            own = vars(registry.agent_class(name))
            assert own.get("title"), name  # not a parent's
            assert own.get("sources") or name in ("frozen", "exam-only"), name

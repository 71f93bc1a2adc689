"""Tables of docs/tasks: means over the seeds that all five agents finished; other agents follow."""

import importlib.util
from types import SimpleNamespace

import pytest

from checkout import ROOT


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location("t", ROOT / "docs" / "tools" / "track_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "score_run", lambda run: {"evening_accuracy": run.score})
    return module


def finished(scores):
    """Runs by seed."""
    meta = {"spec": {"model": "embedded"}}
    return {seed: SimpleNamespace(meta=meta, score=score) for seed, score in scores.items()}


def test_a_table_is_of_the_seeds_that_all_five_share_and_other_agents_with_these_follow(tool):
    records = {agent: finished({100: 0.2, 101: 0.4}) for agent in tool.AGENTS}
    records["naive"] = finished({100: 1.0, 101: 0.5, 102: 0.0})
    records["titans"] = finished({101: 0.5, 100: 0.1, 102: 0.9})
    records["duo-attention"] = finished({100: 1.0})  # lacks a seed
    lines = tool.table("haystack", records).splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [*tool.AGENTS, "titans"]
    assert rows[3:] == ["| `naive` | 0.75 |", "| `sleep` | 0.30 |", "| `titans` | 0.30 |"]
    assert "mean of seeds 100, 101, model `embedded`" in lines[0]
    assert "--seeds 100-101 --out runs/tracks` (`titans`: by `sleepgym run`) and" in lines[1]


def test_a_page_keeps_what_else_it_says_and_a_whole_table(tool, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## Results\n\nWords.\n")
    whole = {agent: finished({100: 0.2}) for agent in tool.AGENTS}
    tool.fill(page, {"squad": tool.table("squad", whole)})
    first = page.read_text()
    assert first.startswith("# Page\n\n## Results\n\nWords.\n\n`squad` of the suite")
    without = {agent: runs for agent, runs in whole.items() if agent != "sleep"}
    tool.fill(page, {"squad": tool.table("squad", without)})
    assert page.read_text() == first
    tool.fill(page, {"squad": tool.table("squad", {**whole, "sleep": finished({100: 0.9})})})
    assert page.read_text() == first.replace("| `sleep` | 0.20 |", "| `sleep` | 0.90 |")
    tool.fill(page, {"jsonl": tool.table("jsonl", whole)})
    both = page.read_text() + "\nMore words.\n"
    page.write_text(both)
    tool.fill(page, {"squad": tool.table("squad", whole)})
    assert page.read_text() == both.replace("| `sleep` | 0.90 |", "| `sleep` | 0.20 |")

"""The pages about the paper's agents: written from the docstrings, results kept."""

import importlib.util
import re

import pytest

from checkout import ROOT


@pytest.fixture
def generate():
    spec = importlib.util.spec_from_file_location(
        "generate", ROOT / "docs" / "tools" / "reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agent_pages_are_up_to_date(generate):
    written = {file.name: file.read_text() for file in generate.AGENTS.glob("*.md")}
    assert written == generate.agent_pages(), "run `make docs`"


def test_a_page_holds_every_departure_and_keeps_its_results(generate, tmp_path):
    from sleepgym_agents.experts import expert as experts
    from sleepgym_agents.sleep import dream_rewards
    from sleepgym_agents.sleep.dreaming import Dreaming
    from sleepgym_agents.sleep.seeding import Seeding

    generate.AGENTS = tmp_path
    (tmp_path / "sleep.md").write_text("# OLD\n\n## Results\n\n.97, by this command.\n")
    pages = generate.agent_pages()
    assert pages["sleep.md"].endswith("## Results\n\n.97, by this command.\n")
    assert "OLD" not in pages["sleep.md"]
    assert pages["seeding.md"].endswith("## Results\n\nNone yet.\n")
    for source in (Seeding, Dreaming, experts, dream_rewards):
        departures = source.__doc__.partition("Departures:")[2]
        firsts = re.findall(r"\d\. (\w+(?: \w+)*)", departures)
        assert firsts
        assert all(first in pages["sleep.md"] for first in firsts), source
    assert "Dreaming" not in pages["seeding.md"].partition("## Departures")[2]
    assert "`dreams_rewarded`" in pages["dreaming.md"]


@pytest.mark.parametrize("name", ["seeding", "dreaming", "sleep"])
def test_links_of_agent_pages_lead_somewhere(name):
    page = ROOT / "docs" / "agents" / f"{name}.md"
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        if "reference" not in target or (ROOT / "docs" / "reference" / f"{name}.md").exists():
            assert (page.parent / target).exists(), target

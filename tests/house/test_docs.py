"""The reference pages are what the docstrings say; relative links lead somewhere."""

import importlib.util
import re

import pytest

from checkout import ROOT
from sleepgym.core import registry


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generate():
    return load("reference")


def test_reference_pages_are_up_to_date():
    module = generate()
    written = {file.name: file.read_text() for file in module.FOLDER.glob("*.md")}
    assert written == module.pages(), "run `make docs`"


def test_the_tables_of_agents_are_up_to_date():
    module = load("agent_tables")
    readme = module.README.read_text()
    assert readme.count(module.BEGIN) == readme.count(module.END) == 1
    assert readme == module.filled(readme), "run `make docs`"
    assert module.REPRODUCTION.read_text() == module.reproduction(), "run `make docs`"
    for name in registry.agents:
        assert f"[`{name}`](docs/reference/{name}.md)" in readme


def test_tests_that_are_named_as_checks_exist():
    page = load("agent_tables").reproduction()
    named = re.findall(r"`(tests/[\w/]+\.py)`", page)
    assert len(named) > 3
    assert all((ROOT / file).is_file() for file in named)


def test_the_results_are_those_of_the_committed_submissions():
    module = load("results")
    tracks = module.results()
    assert module.PAGE.read_text() == module.page(tracks), "run `make docs`"
    assert {"sleep", "seeding", "dreaming", "naive"} <= tracks["Almanac"].keys()


def test_every_setting_has_a_meaning():
    for name, text in generate().pages().items():
        rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)
        assert all(meaning.strip() for _, _, meaning in rows), name


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")))
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

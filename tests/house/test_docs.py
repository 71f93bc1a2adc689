"""The reference pages are what the docstrings say; relative links lead somewhere."""

import importlib.util
import re
import subprocess
import sys

import pytest

from checkout import ROOT
from sleepgym.core import registry

UNITS = {"MB": 1e6, "kB": 1e3}


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    del sys.modules[name]
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


def test_the_largest_generated_files_are_counted():
    module, text = load("sizes"), (ROOT / "CONTRIBUTING.md").read_text()
    row = re.compile(r"^\| (.+?) \| ([\d.]+) (MB|kB) \| (.+?) \|$", re.M)
    shown = {
        (what, made): float(size) * UNITS[unit] for what, size, unit, made in row.findall(text)
    }
    today = row.findall(module.table())
    assert shown.keys() == {(what, made) for what, _, _, made in today}
    for what, size, unit, made in today:
        said = shown[what, made]
        assert 0.8 < float(size) * UNITS[unit] / said < 1.25, f"{what}: run docs/tools/sizes.py"
    counted = {file for thing in module.GENERATED for file in thing.files}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        assert file in counted or not file.is_file() or file.stat().st_size < 60_000, name


def test_every_setting_has_a_meaning():
    for name, text in generate().pages().items():
        rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)
        assert all(meaning.strip() for _, _, meaning in rows), name


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")))
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target

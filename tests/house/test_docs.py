"""The reference pages are what the docstrings say; relative links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from checkout import ROOT
from sleepgym.cli.tables import COLUMNS, COMPARED
from sleepgym.core import registry
from sleepgym.reports.report import HEADLINE
from sleepgym.scoring.glossary import heading

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
    text = module.README.read_text()
    assert text == module.readme(text, tracks), "run `make docs`"
    assert tracks["Almanac"].keys() >= module.SHOWN.keys()
    assert text.count(module.BEGIN) == text.count(module.END) == 1


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


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_extras_that_are_named_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for room in ("sleepgym", "agents", "tasks", "leaderboards", "tests"):
        files += (ROOT / room).rglob("*.py")
    named = {}
    for file in files:
        for names in re.findall(r"(?:sleepgym|'\.)\[([a-z,]+)\]", file.read_text()):
            named |= dict.fromkeys(names.split(","), file)
    assert {"gguf", "semantic", "docs", "dev"} <= named.keys()
    assert named.keys() <= extras.keys(), named


def test_what_is_in_a_wheel_is_counted(tmp_path):
    wheel = tmp_path / "any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/one.py", "x" * 1000)
        archive.writestr("a/b/two.py", "x" * 500)
        archive.writestr("a/base/model.safetensors", "x" * 20_000)
    rows = load("wheel").table(str(wheel)).splitlines()
    assert rows[2:] == [
        "| a | .safetensors | 1 | 20 | 20 |",
        "| a | .py | 2 | 2 | 2 |",
        "| all | | 3 | 22 | 22 |",
    ]


def test_the_glossary_explains_every_column_of_the_tables():
    page = (ROOT / "docs" / "glossary.md").read_text()
    for metric in {*COLUMNS, *COMPARED, *HEADLINE}:
        if not metric.startswith(("night_", "state_")):
            assert f" | {heading(metric)} | " in page, metric


def test_the_file_tree_of_the_readme_exists():
    text = (ROOT / "README.md").read_text().partition("## What is where")[2]
    room, found = ROOT, 0
    for line in text.split("```")[1].strip().splitlines():
        names = re.findall(r"([\w/]+)/(?=\s)", line)
        if line[0] != " ":
            room = ROOT / names[0]
        for name in names:
            assert (room / name).is_dir() or (ROOT / name).is_dir(), name
            found += 1
    assert found > 20


def test_the_readme_begins_with_its_two_commands_and_has_places_for_what_is_generated():
    text = (ROOT / "README.md").read_text()
    assert "make demo " in text[:900]
    assert "make test " in text[:900]
    for place in ("install", "agents"):
        assert text.index(f"<!-- {place} -->") < text.index(f"<!-- /{place} -->")


def test_folders_of_the_architecture_page_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    tables = re.findall(
        r"^\| folder of `([\w/]+)/` \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    assert len(tables) == 4
    for room, rows in tables:
        for row in rows.splitlines():
            for name in re.findall(r"`([\w/]+)`", row.split(" | ")[0]):
                assert (ROOT / room / name).is_dir(), name

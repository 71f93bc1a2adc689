"""An agent from another package works as CONTRIBUTING says: example_package is what it shows."""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from checkout import ROOT

PACKAGE = ROOT / "tests" / "example_package"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FILES = ["mypkg/__init__.py", "mypkg/cram.py", "mypkg/rote.py", "mypkg/tuned.toml"]
INHERITED = os.environ.get("PYTHONPATH", "")
BROKEN = [
    "Config is a frozen dataclass whose fields all have defaults.",
    "The docstring of Config names every field, or that of a class it inherits from does.",
    "answer() gives one string a question, from birth, and nothing for nothing.",
    "Where a question offers choices, the answer is one of them.",
    "answer() does not change what save() writes.",
    "The same questions get the same answers, in one batch or another.",
    "After a night, a fresh instance that loads the saved state answers as the old one did.",
    "The same seed and the same day give the same state, byte for byte.",
    "sleep() returns a mapping of names to numbers.",
    "A day without documents and practice is slept through.",
    "A night whose budget allows no token and no operation spends none.",
]
RULES = len(BROKEN) + 1  # and a free lunch: numbers that change while nothing is counted


@pytest.fixture(scope="module")
def sleepgym(tmp_path_factory):
    """The command line where the package is installed: on the path, its entry points beside it."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    fields = {"Metadata-Version": "2.1", "Name": project["name"], "Version": project["version"]}
    (info / "METADATA").write_text("".join(f"{name}: {v}\n" for name, v in fields.items()))
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def run(*arguments, path=(PACKAGE, site), code=0):
        result = subprocess.run(
            [sys.executable, "-m", "sleepgym", *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([*map(str, path), INHERITED]),
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


def shown(file):
    """The block of CONTRIBUTING that begins with the file's name."""
    found = re.search(rf"^```\w+\n# {re.escape(file)}\n(.*?)^```$", CONTRIBUTING, re.M | re.S)
    assert found, file
    return found[1]


@pytest.mark.parametrize("file", FILES)
def test_contributing_shows_the_package_as_it_is(file):
    assert (PACKAGE / file).read_text() == shown(file)


def test_contributing_shows_its_entry_point_and_suite():
    assert shown("pyproject.toml") in (PACKAGE / "pyproject.toml").read_text()
    assert shown("suite.toml") == (PACKAGE / "suite.toml").read_text()


def command(agent, out):
    """The command of CONTRIBUTING that runs an agent, its output elsewhere."""
    text = CONTRIBUTING.partition(f"sleepgym run --agent {agent}")[2].partition("```")[0]
    words = f"run --agent {agent}{text}".replace("\\\n", " ").split()
    assert words[-2] == "--out"
    return [*words[:-1], out]


@pytest.mark.slow
def test_the_blocks_pasted_elsewhere_run_as_they_are(sleepgym, tmp_path):
    (tmp_path / "mypkg").mkdir()
    for file in ("mypkg/rote.py", "mypkg/cram.py"):
        (tmp_path / file).write_text(shown(file))
    for agent in ("mypkg.rote:Rote", "mypkg.cram:Cram"):
        assert agent in sleepgym(*command(agent, tmp_path / agent), path=[tmp_path])
    assert "or agent 'rote'" in sleepgym("check", "rote", path=[tmp_path], code=2)
    scores = json.loads(sleepgym("score", tmp_path / "mypkg.cram:Cram", "--json"))
    frozen = command("mypkg.cram:Cram", tmp_path / "frozen")
    frozen[2] = "frozen"
    sleepgym(*frozen)
    floor = json.loads(sleepgym("score", tmp_path / "frozen", "--json"))
    assert scores["morning_accuracy"] > floor["morning_accuracy"] + 0.2
    night = json.loads((tmp_path / "mypkg.cram:Cram" / "nights.jsonl").read_text())
    assert night["train_tokens"] > 0  # what it spent is on its meter
    assert night["flops"] > 0


@pytest.mark.slow
def test_installed_it_has_its_name_everywhere(sleepgym, tmp_path):
    assert "answers everything alike" in sleepgym("list", "agents", "rote")
    for agent in ("rote", "cram"):
        lines = sleepgym("check", agent).splitlines()
        checked = [line for line in lines if line.startswith(("ok", "FAIL"))]
        assert len(checked) == RULES
        assert all(line.startswith("ok") for line in checked), lines
    out = tmp_path / "suite"
    text = sleepgym("suite", PACKAGE / "suite.toml", "--out", out)
    assert re.search(r"^ *rote +\d", text, re.M), text
    assert re.search(r"^ *nearest +\d", text, re.M), text
    assert "rote" in (out / "report" / "report.html").read_text()
    meta = json.loads((out / "invented" / "rote" / "seed-0" / "run.json").read_text())
    assert meta["spec"]["agent_settings"] == {"reply": "nobody knows"}


def test_a_broken_agent_is_told_every_rule_it_breaks(sleepgym):
    checked = sleepgym("check", "mypkg.broken:Broken", code=1)
    failed = [line.removeprefix("FAIL ") for line in checked.splitlines() if line[:4] == "FAIL"]
    assert failed == BROKEN

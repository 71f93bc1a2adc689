"""What each part of sleep is worth, and whether pages and classes agree on which parts are off."""

import importlib.util
import json
import re
from dataclasses import fields

import pytest

from checkout import ROOT
from sleepgym.core import registry
from sleepgym.suite.suite import load_suite

PAGE = ROOT / "docs" / "agents" / "sleep.md"
OFF = {"distillation_weight": 1.0, "gradient_selection": False, "random_expert": False}
AGENTS = ("sleep", "seeding", "dreaming")


def load():
    path = ROOT / "docs" / "tools" / "ablation_table.py"
    spec = importlib.util.spec_from_file_location("ablation_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defaults(agent):
    config = registry.agent_class(agent).Config()
    return {field.name: getattr(config, field.name) for field in fields(config)}


def rows_of_the_page():
    """Setting, value, and what its row says of the default, of the page's table of parts."""
    (table,) = re.findall(
        r"^### What each part is worth$(.*?)(?=^#|\Z)", PAGE.read_text(), re.M | re.S
    )
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if setting := re.fullmatch(r"`(\w+)=(\S+)`", cells[1] if len(cells) > 1 else ""):
            yield cells[0], setting[1], json.loads(setting[2]), cells[-1]


@pytest.mark.parametrize("agent", AGENTS)
def test_parts_without_effect_are_off_by_default(agent):
    own = defaults(agent)
    assert {k: own[k] for k in OFF if k in own} == {k: v for k, v in OFF.items() if k in own}
    assert agent == "seeding" or OFF.keys() <= own.keys()


def test_the_page_says_which_parts_are_off():
    own, found = defaults("sleep"), set()
    for part, setting, value, said in rows_of_the_page():
        assert own[setting] != value, f"{part}: {setting}={value} is the default"
        assert part.startswith("with ") == said.startswith("**off**"), part
        if said.startswith("**off**"):
            found.add(setting)
    assert found >= OFF.keys()


def test_every_variant_of_the_suite_differs_from_the_defaults():
    for agent in load_suite("ablation").agents:
        own = defaults(agent.id)
        assert all(own[name] != value for name, value in agent.settings.items()), agent.label
        assert agent.label != "sleep" or not agent.settings


def test_differences_are_paired_and_bold_where_an_interval_decides():
    module = load()
    lines = [
        {"label": label, "seed": seed, "metrics": {"average_accuracy": value + seed / 1e3}}
        for label, value in (("sleep", 0.5), ("without-seeding", 0.3), ("without-dreaming", 0.5))
        for seed in range(100, 106)
    ]
    lines[3]["metrics"]["accuracy_alias"] = 1.0  # one stream alone asks it
    scores = module.collect(lines)
    rows = module.part_lines(scores)
    assert rows[2].startswith("| sleep | 6 | 60.2 [")
    assert "| without-dreaming | 6 | 60.2 [60.1, 60.4] | +0.0 [0.0, 0.0] |  |  |  |  |" in rows[3]
    assert "| **-20.0 [-20.0, -20.0]** |" in rows[4]
    kinds = module.kind_lines(scores)
    assert "| **+20.0 [20.0, 20.0]** | +0.0 [0.0, 0.0] | **+20.0 [20.0, 20.0]** |" in kinds[2]
    assert kinds[3] == "| alias |  |  | 100.0 |  |  |  |"
    assert len(kinds) == 4


def test_later_runs_take_the_place_of_earlier():
    module = load()
    before = [{"label": "a", "seed": 2, "metrics": {}}, {"label": "a", "seed": 1, "metrics": {}}]
    after = [{"label": "a", "seed": 2, "metrics": {"x": 1}}]
    assert module.merge(before, after) == [before[1], after[0]]


def test_stages_on_real_text_are_read_from_verdicts(tmp_path):
    module = load()
    said = {"average_accuracy": 0.7, "base_retention": None, "night_flops": 3e9, "other": 1}
    row = {"seed": 100, "metrics": said}
    (tmp_path / "seeding.verdict.json").write_text(json.dumps({"results": {"seeds": [row]}}))
    (tmp_path / "dreaming.verdict.json").write_text('{"results": null}')
    found = module.read_board(tmp_path)
    assert found == {"seeding": {100: {"average_accuracy": 0.7, "night_flops": 3e9}}}
    seeding = {module.SEEDING: found["seeding"]}
    assert module.kind_lines(seeding)[2] == "| all | 70.0 |  |  |  |  |  |"


def test_stages_with_twice_the_samples_are_compared_with_each_other(capsys, monkeypatch):
    tool = load()
    values = {"sleep-twice-many-dreams": 0.6, "seeding-twice": 0.5, "dreaming-twice": 0.55}
    board = {slug: {s: {tool.FINAL: value} for s in (1, 2)} for slug, value in values.items()}
    monkeypatch.setattr(tool, "read_board", lambda folder: board)
    tool.main([])
    said, _, others = capsys.readouterr().out.partition("twice the samples")[2].partition("##")
    adds = "**+5.0 [5.0, 5.0]** | **+10.0 [10.0, 10.0]** | **-5.0 [-5.0, -5.0]**"
    assert f"| all | 50.0 | 55.0 | 60.0 | {adds} |" in said
    of_both = others.partition("difference to `sleep-twice-many-dreams`")[2].partition("##")[0]
    assert re.search(r"^\| seeding-twice .*\*\*-10\.0 \[-10\.0, -10\.0\]\*\*", of_both, re.M)


def test_the_first_stage_on_real_text_is_that_of_the_board_and_of_later_streams(
    capsys, monkeypatch
):
    tool = load()
    lines = [
        {"label": label, "seed": seed, "metrics": {tool.FINAL: value}}
        for label, value in ((tool.PLAIN, 0.5), (tool.SEEDING, 0.4))
        for seed in (2, 3)
    ]
    lines.append({"label": tool.PLAIN, "seed": 1, "metrics": {tool.FINAL: 0.5}})
    board = {"seeding": {1: {tool.FINAL: 0.7}, 2: {tool.FINAL: 0.9}}}
    monkeypatch.setattr(tool, "read_board", lambda folder: board)
    monkeypatch.setattr(
        tool, "updated", lambda file, runs: lines if file == tool.ALL_NIGHTS else []
    )
    tool.main([])
    nights = capsys.readouterr().out.partition("all eight nights")[2]
    row = re.search(rf"^\| {tool.SEEDING} .*$", nights, re.M)
    streams, final = row[0].split("|")[2:4]
    assert (streams.strip(), final.split()[0]) == ("3", "50.0")  # .7 of the board, .4, .4

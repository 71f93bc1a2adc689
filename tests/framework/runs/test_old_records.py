"""Runs made by version 0.1 (commit fd3e8a1), whose settings had other names."""

import json
import shutil
from pathlib import Path

import pytest

from sleepgym.core.errors import BadSetting
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec, spec_from_meta
from sleepgym.scoring.scores import score_run

OLD = Path(__file__).with_name("of_0_1")


def test_an_old_run_scores_as_it_did():
    saved = json.loads((OLD / "scores.json").read_text())
    assert score_run(read_run(OLD / "whole")) == saved


def test_its_settings_have_the_names_of_today():
    record = read_run(OLD / "whole")
    settings = record.meta["spec"]["agent_settings"]
    assert (settings["samples"], settings["sample_tokens"]) == (2, 24)
    assert not {"chains", "chain_tokens"} & set(settings)


def test_an_old_run_is_resumed_to_the_same_record(tmp_path):
    shutil.copytree(OLD / "half", tmp_path / "run")
    spec = spec_from_meta(read_run(tmp_path / "run").meta)
    resumed, whole = run(spec, tmp_path / "run"), read_run(OLD / "whole")
    assert resumed.finished
    assert resumed.answers == whole.answers
    digests = [[night["state_digest"] for night in r.nights] for r in (resumed, whole)]
    assert digests[0] == digests[1]


def test_an_old_name_on_the_command_line_is_told_the_new_one():
    old = {"chains": 2, "chain_tokens": 9}
    spec = RunSpec("sleepgym/Almanac-v0", "notebook", agent_settings=old)
    says = "chains is called samples now, chain_tokens is called sample_tokens now"
    with pytest.raises(BadSetting, match=says):
        spec.agent_config()

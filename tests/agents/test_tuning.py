"""The tuning script: all agents alike, failures counted, settings written only where they win."""

import importlib.util
import json
import subprocess
import sys
import tomllib

import pytest

from checkout import ROOT
from sleepgym.core import registry
from sleepgym.core.errors import BadRun, UnknownName
from sleepgym.core.settings import build_config
from sleepgym.suite.suite import load_suite

FOLDER = ROOT / "agents" / "tuning"
SUITE = str(ROOT / "leaderboards" / "suites" / "almanac-8-any.toml")
SPACES = {name: registry.agent_class(name).search_space for name in registry.agents}
SPACES = {name: space for name, space in SPACES.items() if space}
# nothing of theirs is trained at night
FEW = {"in-context", "retrieval", "nearest", "notebook", "inca", "recurrent-memory"}
NEVER = float("inf")


@pytest.fixture(scope="module")
def tune():
    spec = importlib.util.spec_from_file_location("tune", FOLDER / "tune.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tune"]


def line(agent, trial, seed, value, **more):
    return {"agent": agent, "trial": trial, "settings": {"n": trial}, "seed": seed, **more} | (
        {} if value is None else {"average_accuracy": value}
    )


def test_every_agent_with_something_to_tune_has_a_space():
    assert set(SPACES) == set(registry.agents) - {"frozen", "exam-only"}
    for agent, space in SPACES.items():
        assert (1 if agent in FEW else 3) <= len(space) <= 6, agent
        config = registry.agent_class(agent).Config
        for name, values in space.items():
            assert len(values) > 1
            for value in values:
                build_config(config, {name: value}, agent)


@pytest.mark.parametrize("agent", sorted(SPACES))
def test_trials_begin_with_the_defaults_and_differ(tune, agent):
    config = registry.agent_class(agent).Config
    trials = tune.draw_trials(agent, SPACES[agent], 10)
    assert trials[0] == {}
    for trial in trials:
        built = build_config(config, trial, agent)
        assert all(getattr(built, name) != getattr(config(), name) for name in trial)
    assert trials == tune.draw_trials(agent, SPACES[agent], 10)
    assert len({json.dumps(vars(build_config(config, t, agent))) for t in trials}) == len(trials)
    assert len(trials) == (3 if agent in ("nearest", "recurrent-memory") else 10)


def test_named_settings_are_tried_after_the_defaults_and_count(tune):
    start = [{"epochs": 7}, {"epochs": 20}]
    trials = tune.draw_trials("naive", {"epochs": [5, 20]}, 4, start)
    assert trials == [{}, *start, {"epochs": 5}]  # the only one left to draw
    listed = tune.read_start(FOLDER / "almanac-any.toml")
    for agent, named in listed.items():
        assert tune.draw_trials(agent, SPACES[agent], 6, named)[1 : len(named) + 1] == named


def test_a_setting_that_does_not_exist_is_named(tune):
    with pytest.raises(UnknownName, match=r"search space of naive 'epoch'.*mean epochs"):
        tune.draw_trials("naive", {"epoch": [1, 2]}, 5)


def test_the_best_trial_counts_failures_and_waits_for_all_runs(tune):
    lines = [line("a", 0, 5, 0.5), line("a", 0, 6, 0.7), line("a", 1, 5, 0.6), line("a", 1, 6, 0.6)]
    found = tune.best_trials(lines)["a"]
    assert (found.trial, found.value, found.default) == (0, pytest.approx(0.6), pytest.approx(0.6))
    fails = [line("a", 2, 5, None, error="ValueError: x"), line("a", 2, 6, 1.1)]
    assert tune.best_trials([*lines, *fails])["a"].trial == 0
    wins = [line("a", 3, 5, 0.6), line("a", 3, 6, 0.8)]
    best = tune.best_trials([*lines, *fails, *wins])["a"]
    assert (best.trial, best.settings, best.error) == (3, {"n": 3}, "")
    lucky = [line("a", 4, 5, 2.0), line("a", 4, 6, 0.6)]  # better in the mean, worse on a stream
    assert tune.best_trials([*lines, *wins, *lucky])["a"].trial == 3
    slow = [line("a", 4, seed, 2.0, night_seconds=1.1) for seed in (5, 6)]  # the others: no time
    assert tune.best_trials([*lines, *wins, *slow])["a"].trial == 3
    timed = [line("a", 0, seed, 0.1, night_seconds=10.0) for seed in (5, 6)]
    slow = [line("a", 4, seed, 2.0, night_seconds=30.0) for seed in (5, 6)]
    found = [tune.best_trials([*timed, *slow], slowest=times)["a"].trial for times in (2.0, 3.0)]
    assert found == [0, 4]
    late = line("b", 0, 5, None, unfinished=True)
    assert set(tune.best_trials([*lines, line("b", 0, 6, 0.9), late])) == {"a"}


def test_the_last_digit_of_a_mean_decides_nothing(tune):
    above = 0.1 + 0.2
    assert above > 0.3
    lines = [line("a", 0, 5, 0.3), line("a", 1, 5, above)]
    assert tune.best_trials(lines)["a"].trial == 0
    lines += [line("a", 2, 5, 0.6), line("a", 3, 5, 2 * above)]
    assert tune.best_trials(lines)["a"].trial == 2  # of equals the first
    streams = [line("b", 0, seed, 0.3) for seed in (5, 6)]  # better on one, no better on the other
    streams += [line("b", 1, 5, 0.9), line("b", 1, 6, above)]
    assert tune.best_trials(streams)["b"].trial == 0
    below = [{**x, "base_retention": 0.8999999999999999} for x in lines]
    assert tune.best_trials(below, 0.9)["a"].trial == 2


def test_what_is_kept_of_the_base_is_a_floor_and_no_part_of_the_value(tune):
    lines = [
        line("a", trial, seed, value, base_retention=kept)
        for trial, value, kept in ((0, 0.1, 1.0), (1, 0.5, 0.2), (2, 0.3, 0.95), (3, 0.05, 1.0))
        for seed in (5, 6)
    ]
    assert tune.best_trials(lines)["a"].trial == 1  # though it keeps least in all
    best = tune.best_trials(lines, 0.9)["a"]
    assert (best.trial, best.value, best.retention) == (2, 0.3, pytest.approx(0.95))
    assert tune.best_trials(lines[2:4] + lines[2:4], 0.9) == {}
    below = [{**x, "base_retention": 0.5} for x in lines]
    assert tune.best_trials(below, 0.9) == {}


def test_a_run_that_fails_counts_nothing_and_one_of_another_search_is_refused(tune, tmp_path):
    search = tune.Search("toy:Toy", {"days": 2}, None, tmp_path, NEVER)
    failed = tune.run_trial(search, "toy:Sleepless", 0, {}, 5)
    assert "average_accuracy" not in failed
    assert "raised ValueError in night 2" in failed["error"]
    done = tune.run_trial(search, "toy:Notes", 0, {}, 5)
    assert (done["average_accuracy"], done["base_retention"]) == (1.0, 1.0)
    other = tune.Search("toy:Toy", {"days": 1}, None, tmp_path, NEVER)
    with pytest.raises(BadRun):
        tune.run_trial(other, "toy:Notes", 0, {}, 5)


def test_no_night_begins_after_the_limit(tune, tmp_path, monkeypatch):
    search = tune.Search("toy:Toy", {"days": 3}, None, tmp_path, 100.0)
    clock = iter([99.0, 99.5, 101.0])
    monkeypatch.setattr(tune.time, "time", lambda: next(clock))
    assert tune.run_trial(search, "toy:Notes", 0, {}, 5)["unfinished"]
    run = tmp_path / "toy:Notes" / "trial-0" / "seed-5"
    assert len((run / "nights.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(tune.time, "time", lambda: 0.0)
    assert tune.run_trial(search, "toy:Notes", 0, {}, 5)["average_accuracy"] == 1.0
    monkeypatch.setattr(tune.time, "time", lambda: 101.0)  # what is finished is still scored
    assert tune.run_trial(search, "toy:Notes", 0, {}, 5)["average_accuracy"] == 1.0


def test_written_settings_say_where_they_come_from_and_leave_others(tune, tmp_path, monkeypatch):
    file, shipped = tmp_path / "tuned.toml", tmp_path / "shipped.toml"
    shipped.write_text(tune.TUNED.read_text() + "\n# somewhere\n[replay]\nepochs = 3\n")
    monkeypatch.setattr(tune, "TUNED", shipped)
    values = {"rate": 1e-05, "on": True, "sizes": [1, 4], "kind": "day", "n": 3}
    won, failed = (
        tune.Found(4, values, 1.25, 1.0, 0.5, ""),
        tune.Found(0, {}, 0.0, 0.0, 0.0, "E: x"),
    )
    tune.write_tuned(file, {"naive": won, "inca": failed}, "--days 4 --seeds 5,6")
    tune.write_tuned(file, {"ewc": tune.Found(0, {}, 0.5, 0.5, None, "")}, "--days 2 --seeds 7")
    text = file.read_text()
    assert tomllib.loads(text) == {"ewc": {}, "naive": values}
    assert "# tune.py --agents naive --days 4 --seeds 5,6\n# trial 4: 1.250 (defaults 1" in text
    assert (
        "ewc --days 2 --seeds 7\n# trial 0: 0.500 (the defaults), base retention not asked\n[ewc]"
        in text
    )
    again = tune.Found(1, {"n": 2}, 1.5, 1.0, 0.5, "")
    tune.write_tuned(file, {"naive": again}, "--days 4 --seeds 8")
    assert tomllib.loads(file.read_text()) == {"ewc": {}, "naive": {"n": 2}}
    assert file.read_text().count("python agents/tuning/tune.py") == 1  # the head
    assert set(tmp_path.iterdir()) == {file, shipped}


@pytest.mark.slow
def test_the_script_stops_goes_on_and_writes(tmp_path):
    file, out = tmp_path / "tuned.toml", tmp_path / "out"
    command = ["--agents", "nearest", "--env", "sleepgym/Codebook-v0", "--days", "1"]
    command += ["--env-set", "rules=1", "--trials", "2", "--seeds", "5,6"]
    command += ["--out", str(out), "--write", str(file)]

    def script(*more):
        return subprocess.run(
            [sys.executable, FOLDER / "tune.py", *command, *more], capture_output=True, text=True
        )

    stopped = script("--limit-s", "0")
    assert stopped.returncode == 0, stopped.stderr
    assert "nearest: no trial counts, or some are not finished" in stopped.stdout
    assert tomllib.loads(file.read_text()) == {}
    done = script("--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(file.read_text()) == {"nearest": {}}
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert {(line["trial"], line["seed"]) for line in lines} == {(0, 5), (0, 6), (1, 5), (1, 6)}
    wrong = script("--days", "2")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("tune.py: ")
    assert wrong.stderr.count("\n") == 1, wrong.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--agents", "naiv"], "did you mean naive"),
        (["--env", "sleepgym/Almanak-v0"], "did you mean sleepgym/Almanac-v0"),
        (["--env-set", "passage=1"], "did you mean passages"),
        (["--seeds", "99-100"], "tune on seeds 0-99"),
        (["--seeds", "x"], "must be numbers and ranges"),
        (["--start", "no.toml"], "--start no.toml: not readable"),
        (["--start", str(FOLDER.parent / "sleepgym_agents" / "tuned.toml")], "array of tables"),
    ],
)
def test_bad_input_is_one_line_and_runs_nothing(tune, tmp_path, capsys, monkeypatch, options, says):
    out = tmp_path / "out"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["tune.py", "--out", str(out), *options])
    with pytest.raises(SystemExit) as stop:
        tune.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_tuned_settings_are_those_of_the_committed_trials(tune):
    found = tune.best_trials(tune.read_trials(FOLDER / "trials.jsonl"))
    best = {agent: trial.settings for agent, trial in found.items()}
    assert tomllib.loads(tune.TUNED.read_text()) == best


def test_the_suite_of_the_second_search_holds_what_it_chose(tune):
    found = tune.best_trials(tune.read_trials(FOLDER / "trials.jsonl"), 0.9)
    tuned = tomllib.loads(tune.TUNED.read_text())
    chosen = {agent: best.settings for agent, best in found.items()}
    rows = load_suite("retaining").agents
    assert {row.id: row.settings for row in rows} == {
        agent: settings for agent, settings in chosen.items() if settings != tuned[agent]
    }


def test_the_suite_of_a_real_model_holds_what_its_search_chose(tune):
    file = FOLDER / "trials-almanac-any.jsonl"
    found = tune.best_trials(tune.read_trials(file), slowest=100)
    rows = {row.label: row for row in load_suite(SUITE).agents}
    for agent, best in found.items():
        settings = {k: v for k, v in rows[agent].settings.items() if k != "read_with_experts"}
        assert settings == best.settings, agent
    night = rows["sleep"].settings
    for stage in ("seeding", "dreaming"):  # each stage alone, as in `sleep`
        config = registry.agent_class(stage).Config
        assert rows[stage].settings == {k: v for k, v in night.items() if hasattr(config(), k)}

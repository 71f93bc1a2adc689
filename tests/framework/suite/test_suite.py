import dataclasses
import re
from pathlib import Path

import pytest

import sleepgym
from sleepgym.cli import run_command
from sleepgym.core import registry
from sleepgym.core.errors import BadSetting, MissingData, SleepGymError, UnknownName
from sleepgym.runs.records import read_run
from sleepgym.suite import launchers
from sleepgym.suite.launchers import LocalLauncher, run_suite
from sleepgym.suite.suite import load_suite, parse_seeds, suite_names

TEXT = """
summary = "toys"
seeds = "1-2"
[[envs]]
id = "toy:Toy"
label = "toy"
settings = { days = 2 }
[[agents]]
id = "toy:Fleeting"
label = "fleeting"
[[agents]]
id = "toy:Notes"
label = "notes"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_every_agent_meets_the_same_streams(file, tmp_path):
    runs = load_suite(str(file)).runs(tmp_path / "out")
    run_suite(runs, LocalLauncher(2))
    records = [read_run(path) for _, path in runs]
    assert all(record.finished for record in records)
    hashes = {(r.meta["spec"]["seed"], r.meta["stream_hash"]) for r in records}
    assert len(hashes) == 2
    assert {r.path.relative_to(tmp_path).as_posix() for r in records} == {
        f"out/toy/{agent}/seed-{seed}" for agent in ("fleeting", "notes") for seed in (1, 2)
    }


def test_the_same_command_goes_on_with_what_is_missing(file, tmp_path):
    runs = load_suite(str(file)).runs(tmp_path / "out")
    run_suite(runs[:3])
    phases = [path / "phases.jsonl" for _, path in runs]
    before = [phase.read_text() for phase in phases[:3]]  # with the seconds they took
    told = []
    run_suite(runs, progress=lambda done, total, what: told.append((done, total)))
    assert [phase.read_text() for phase in phases[:3]] == before
    assert read_run(runs[3][1]).finished
    assert list(dict.fromkeys(told))[-4:] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_progress_names_the_environment_where_there_are_several(file, tmp_path):
    file.write_text(TEXT + '[[envs]]\nid = "toy:Toy"\nlabel = "again"\nsettings = { days = 1 }\n')
    told = []
    runs = load_suite(str(file)).only(["notes"]).runs(tmp_path / "out")
    run_suite(runs[::2], progress=lambda done, total, what: told.append(what))
    ended = {what for what in told if what.endswith("seed 1")}
    assert ended == {"toy, notes, seed 1", "again, notes, seed 1"}


def test_runs_under_way_tell_how_far_they_are(file, tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "TICK_S", 0.01)
    slow = file.read_text().replace("toy:Notes", "toy:Slow").replace("days = 2", "days = 6")
    file.write_text(slow)
    told = []
    runs = load_suite(str(file)).runs(tmp_path / "out")
    run_suite(runs, LocalLauncher(2), lambda done, total, what: told.append(what))
    assert any(re.fullmatch(r"notes, seed 1: \w+ of day \d \(\d+/\d+\)", what) for what in told)


def test_one_run_that_fails_does_not_keep_the_others_from_finishing(file, tmp_path):
    file.write_text(file.read_text().replace("toy:Fleeting", "toy:Sleepless"))
    runs = load_suite(str(file)).runs(tmp_path / "out")
    with pytest.raises(SleepGymError, match=r"2 of 4 runs failed: fleeting, seed 1: .*; fleeting"):
        run_suite(runs)
    assert [read_run(path).finished for _, path in runs] == [False, True, False, True]
    bad = dataclasses.replace(runs[0][0], env_settings={"days": 0})
    with pytest.raises(BadSetting, match="days=0"):
        run_suite([(bad, tmp_path / "bad"), *runs])


def test_an_error_of_one_run_is_told(file, tmp_path):
    text = file.read_text().replace("toy:Fleeting", "toy:Sleepless")
    file.write_text(text)
    with pytest.raises(SleepGymError, match="raised ValueError in night 2"):
        run_suite(load_suite(str(file)).runs(tmp_path / "out")[:3])


def test_agents_can_be_chosen_by_label(file):
    assert [a.label for a in load_suite(str(file)).only(["notes"]).agents] == ["notes"]
    with pytest.raises(UnknownName, match="did you mean notes"):
        load_suite(str(file)).only(["note"])


MORE = """
[[envs]]
id = "toy:Toy"
label = "again"
settings = { days = 1 }
data_files = ["toys/box.json"]
[[agents]]
id = "toy:Slow"
envs = ["again"]
"""


def test_an_agent_meets_the_environments_it_names(file, tmp_path):
    file.write_text(TEXT + MORE)
    met = {path.relative_to(tmp_path).parent for _, path in load_suite(str(file)).runs(tmp_path)}
    both = {Path(env) / agent for env in ("toy", "again") for agent in ("fleeting", "notes")}
    assert met == both | {Path("again/toy:Slow")}
    file.write_text(TEXT + MORE.replace('["again"]', '["agin"]'))
    with pytest.raises(UnknownName, match=r"environment of toy:Slow in .*did you mean again"):
        load_suite(str(file))


def test_an_environment_whose_data_are_not_at_hand_is_left_out(file, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SLEEPGYM_DATA", raising=False)
    file.write_text(TEXT + MORE)
    suite = load_suite(str(file))
    for data in (None, tmp_path):
        rest, lines = suite.at_hand(data)
        assert ([e.label for e in rest.envs], len(rest.agents)) == (["toy"], 2)
        assert lines == [
            "again is left out: put DIR/toys/box.json, and pass --data DIR or set "
            "SLEEPGYM_DATA=DIR",
            "toy:Slow is left out: it meets again alone",
        ]
    assert run_command(["suite", str(file), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "again is left out" in text
    assert "4 runs" in " ".join(text.split())
    with pytest.raises(MissingData, match=r"nothing to run: again is left out.*toys/box\.json"):
        suite.only(["toy:Slow"]).at_hand(None)
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "box.json").touch()
    assert suite.at_hand(tmp_path) == (suite, [])


@pytest.mark.parametrize("text", ["summary", "x = 1", TEXT.replace("id", "name")])
def test_a_malformed_file_is_named(file, text):
    file.write_text(text)
    with pytest.raises(SleepGymError, match=r"mine\.toml is malformed"):
        load_suite(str(file))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"toys"', '"t\xf6ys"'.encode("latin-1"), "not UTF-8 at byte"),
        ("\nsummary", b"\xef\xbb\xbfsummary", "byte order mark"),
        ("summary", b"x = " + b"[" * 3000 + b"]" * 3000 + b"\nsummary", "nested too deeply"),
        ('"toys"', b"5", "summary=5: must be text"),
        ("seeds", b"sedes", "unknown field 'sedes': did you mean seeds"),
        ("[[envs]]", b"agents = [5]\n[[envs]]", "agents=5"),
        ("settings", b"setings", r"unknown field of \[\[envs\]\] 'setings': did you mean settings"),
        ("{ days = 2 }", b'"days"', "settings='days' of .*: must be a table"),
        ('"toy:Fleeting"', b"5", "id=5 of .*: must be text"),
        ('"fleeting"', b'"../../evil"', r"label='../../evil' .*must name a folder"),
        ('"fleeting"', b'"a\\u0000b"', "must name a folder"),
        ('"fleeting"', b'"notes"', "label='notes' of two"),
        ("summary", b'tuned = "no"\nsummary', "tuned='no': must be true or false"),
    ],
)
def test_whatever_is_wrong_with_a_file_is_one_line(file, capsys, old, new, says):
    before, found, after = TEXT.partition(old)
    assert found
    after = after.partition("[[agents]]")[0] if b"agents = " in new else after
    file.write_bytes(before.encode() + new + after.encode())
    assert run_command(["suite", str(file), "--out", str(file.parent / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(rf"mine\.toml is malformed: .*{says}", error), error
    assert [path.name for path in file.parent.iterdir()] == ["mine.toml"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UnknownName, match=r"no suite file 'nope\.toml'.*demo"):
        load_suite("nope.toml")


ALL = 'summary = "x"\nseeds = "0"\nall_agents_of = "mine"\n'
ENVS = '[[envs]]\nid = "toy:Toy"\nlabel = "{}"\noffers = {}\n'


@pytest.fixture
def mine(monkeypatch):
    """Two agents of a package, one of which needs something."""
    monkeypatch.setattr(registry, "agents", dict(registry.agents))
    sleepgym.register_agent("reads", "mine.agents:Reads", "x", needs=["documents"])
    sleepgym.register_agent("talks", "mine.agents:Talks", "x")


def test_every_agent_of_a_package_meets_what_offers_what_it_needs(mine, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(ALL + ENVS.format("text", '["documents"]') + ENVS.format("quiz", "[]"))
    agents = load_suite(str(file)).agents  # there is no module mine.agents: nothing was imported
    assert [(agent.label, agent.envs) for agent in agents] == [("reads", ("text",)), ("talks", ())]
    file.write_text(file.read_text() + '[[agents]]\nid = "reads"\n[[agents]]\nid = "naive"\n')
    agents = load_suite(str(file)).agents
    assert [(a.label, a.envs) for a in agents] == [("reads", ()), ("talks", ()), ("naive", ())]
    file.write_text(ALL + ENVS.format("quiz", "[]"))
    assert [agent.label for agent in load_suite(str(file)).agents] == ["talks"]


def test_what_nobody_offers_or_needs_is_named(mine, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(ALL + ENVS.format("text", '["document"]'))
    with pytest.raises(UnknownName, match="offer of toy:Toy 'document': did you mean documents"):
        load_suite(str(file))
    file.write_text(ALL.replace('"mine"', '"nine"') + ENVS.format("text", "[]"))
    with pytest.raises(UnknownName, match="package with agents 'nine': did you mean mine"):
        load_suite(str(file))
    file.write_text(ENVS.join(['summary = "x"\nseeds = "0"\n', ""]).format("text", "[]"))
    with pytest.raises(SleepGymError, match=r"mine\.toml names no agent"):
        load_suite(str(file))
    with pytest.raises(UnknownName, match="need of agent acts 'practise': did you mean practice"):
        sleepgym.register_agent("acts", "mine.agents:Acts", "x", needs=["practise"])


@pytest.mark.parametrize("text", ["", "5-1", "-3", "1e3", "0-", "1,,2", "0-99999999", "9" * 5000])
def test_seeds_that_nobody_can_run_are_one_line(text):
    with pytest.raises(BadSetting, match=f"seeds={text[:20]}") as error:
        parse_seeds(text)
    assert len(str(error.value)) < 200


def test_seeds_are_ranges():
    assert parse_seeds("0-2,7, 1") == (0, 1, 2, 7)
    for text in ("", "a", "3-1", "1-"):
        with pytest.raises(BadSetting, match="seeds="):
            parse_seeds(text)


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_name_what_exists(name, data_dir):
    suite = load_suite(name)
    labels = [part.label for part in suite.agents]
    assert len(labels) == len(set(labels))
    one_seed = dataclasses.replace(suite, seeds=suite.seeds[:1])
    for spec, _ in one_seed.runs(data_dir, data=data_dir):
        spec.agent_config()
        spec.make_env()

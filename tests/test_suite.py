import dataclasses

import pytest

from sleepgym.errors import BadSetting, SleepGymError, UnknownName
from sleepgym.records import read_run
from sleepgym.suite import load_suite, parse_seeds, run_suite, suite_names

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
    run_suite(runs, workers=2)
    records = [read_run(path) for _, path in runs]
    assert all(record.finished for record in records)
    hashes = {(r.meta["spec"]["seed"], r.meta["stream_hash"]) for r in records}
    assert len(hashes) == 2
    assert {r.path.relative_to(tmp_path).as_posix() for r in records} == {
        f"out/toy/{agent}/seed-{seed}" for agent in ("fleeting", "notes") for seed in (1, 2)
    }


def test_an_error_of_one_run_is_told(file, tmp_path):
    text = file.read_text().replace("toy:Fleeting", "toy:Sleepless")
    file.write_text(text)
    with pytest.raises(SleepGymError, match="raised ValueError in night 2"):
        run_suite(load_suite(str(file)).runs(tmp_path / "out"), workers=1)


def test_agents_can_be_chosen_by_label(file):
    assert [a.label for a in load_suite(str(file)).only(["notes"]).agents] == ["notes"]
    with pytest.raises(UnknownName, match="did you mean notes"):
        load_suite(str(file)).only(["note"])


@pytest.mark.parametrize("text", ["summary", "x = 1", TEXT.replace("id", "name")])
def test_a_malformed_file_is_named(file, text):
    file.write_text(text)
    with pytest.raises(SleepGymError, match=r"mine\.toml is malformed"):
        load_suite(str(file))


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

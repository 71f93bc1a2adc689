"""Trackers: TensorBoard from the files it wrote; others where they are installed."""

import json
import sys
from types import SimpleNamespace

import pytest

from sleepgym.cli import run_command
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.trackers import backends
from sleepgym.trackers.backends import TRACKERS, Tracker
from sleepgym.trackers.following import followed

SPEC = RunSpec("toy:Toy", "toy:Notes", {"days": 3}, seed=5)


class Ledger(Tracker):
    """A tracker that keeps what it is told, and fails where it is asked to."""

    requires = "json"
    told: list  # set by the fixture
    fails_at = None

    def __init__(self, described):
        self.told.append(described)

    def log(self, night, values):
        if night == self.fails_at:
            raise ConnectionError("the network is gone\nfor good")
        self.told.append((night, values))

    def finish(self, metrics):
        self.told.append(metrics)


@pytest.fixture
def ledger(monkeypatch):
    monkeypatch.setattr(Ledger, "told", [], raising=False)
    monkeypatch.setitem(TRACKERS, "ledger", Ledger)
    return Ledger


def test_a_tracker_is_told_settings_nights_and_metrics(tmp_path, ledger):
    with followed("ledger", tmp_path) as progress:
        record = run(SPEC, tmp_path, progress=progress)
    described, *nights, metrics = ledger.told
    assert described.settings == {**record.meta["spec"], "stream_hash": record.meta["stream_hash"]}
    assert (described.name, described.group) == ("toy:Notes/seed-5", "toy:Toy")
    assert [night for night, _ in nights] == [0, 1, 2, 3]
    assert nights[0][1] == {"score/base": 1.0, "score/coming": 0.0}
    first = nights[1][1]
    assert first["score/evening"] == first["score/today"] == first["score/base"] == 1.0
    assert first["score/coming"] == 0.0
    assert "score/earlier" not in first
    assert nights[3][1]["score/earlier"] == 1.0
    for (_, values), night in zip(nights[1:], record.nights, strict=True):
        assert values["cost/train_tokens"] == night["train_tokens"]
        assert values["kept/state_bytes"] == night["state_bytes"]
        assert values["log/notes"] == night["log"]["notes"]
    assert metrics["average_accuracy"] == 1.0


def test_a_resumed_run_goes_on_where_it_was(tmp_path, ledger):
    for nights in (2, None):
        with followed("ledger", tmp_path) as progress:
            run(SPEC, tmp_path, progress=progress, nights=nights)
    begun = [told for told in ledger.told if not isinstance(told, (tuple, dict))]
    assert len({described.id for described in begun}) == 1
    logged = [told[0] for told in ledger.told if isinstance(told, tuple)]
    assert logged == [0, 1, 2, 3]  # the morning after night 2 belongs to the second command
    assert [bool(told) for told in ledger.told if isinstance(told, dict)] == [False, True]


def test_a_tracker_that_fails_midway_is_a_warning(tmp_path, ledger, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "fails_at", 2)
    command = ["run", "--env", "toy:Toy", "--agent", "toy:Notes", "--track", "ledger"]
    assert run_command([*command, "--out", str(tmp_path / "a")]) == 0
    error = capsys.readouterr().err
    assert error.count("tracker ledger stopped, the run goes on: the network is gone") == 1
    assert read_run(tmp_path / "a").finished
    assert [told[0] for told in ledger.told if isinstance(told, tuple)] == [0, 1]


def test_a_suite_is_followed_run_by_run(tmp_path, ledger):
    from sleepgym.suite.launchers import Job

    Job(SPEC, tmp_path, lambda out: followed("ledger", out)).execute()
    assert [told[0] for told in ledger.told if isinstance(told, tuple)] == [0, 1, 2, 3]


@pytest.mark.parametrize("command", ["run", "suite"])
def test_a_tracker_that_cannot_be_used_ends_the_command_before_it_ran(
    tmp_path, ledger, monkeypatch, capsys, command
):
    out = tmp_path / "out"
    what = {"run": ["run", "--env", "toy:Toy", "--agent", "toy:Notes"], "suite": ["suite", "demo"]}

    def refused(name):
        assert run_command([*what[command], "--out", str(out), "--track", name]) == 2
        assert not out.exists()
        return capsys.readouterr().err.strip()

    assert "unknown tracker 'wand': did you mean wandb" in refused("wand")
    for name in ("wandb", "tensorboard", "trackio", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
        line = f"track={name}: {name} is not installed: pip install 'sleepgym[{name}]'"
        assert refused(name) == f"sleepgym: {line}"

    def check():
        raise RuntimeError("No API key configured.\nUse `wandb login`.")

    monkeypatch.setattr(ledger, "check", check)
    assert refused("ledger") == "sleepgym: track=ledger: it refuses: No API key configured."


def test_wandb_is_asked_to_log_in_unless_nothing_is_sent(monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(login=lambda: asked.append(1)))
    monkeypatch.setenv("WANDB_MODE", "offline")
    backends.check_tracker("wandb")
    assert not asked
    monkeypatch.delenv("WANDB_MODE")
    backends.check_tracker("wandb")
    assert asked


def scalars(folder):
    """(tag, step) -> value, from the event files of a folder."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = {}
    for file in folder.glob("events.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                number = float(tensor_util.make_ndarray(value.tensor))
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = number
    return found


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_shows_what_the_record_says(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install 'sleepgym[tensorboard]'")
    for nights in (2, None):
        with followed("tensorboard", tmp_path / "run") as progress:
            record = run(SPEC, tmp_path / "run", progress=progress, nights=nights)
    folder = tmp_path / "run" / "tensorboard"
    found = scalars(folder)
    assert [found["score/today", night] for night in (1, 2, 3)] == [1.0, 1.0, 1.0]
    for night in record.nights:
        assert found["cost/train_tokens", night["night"]] == night["train_tokens"]
    assert found["final/average_accuracy", 3] == 1.0
    settings = json.loads((folder / "settings.json").read_text())
    assert settings == {**record.meta["spec"], "stream_hash": record.meta["stream_hash"]}
    with followed("tensorboard", tmp_path / "run"):
        pass  # a run that has ended is told again, from its record
    assert scalars(folder) == found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_the_other_trackers_take_a_run(tmp_path, monkeypatch, name, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    for module in [m for m in sys.modules if m.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, module)  # it reads its folder when it is imported
    pytest.importorskip(name, reason=f"pip install 'sleepgym[{name}]'")
    backends.check_tracker(name)
    for nights in (2, None):
        with followed(name, tmp_path / "run") as progress:
            run(SPEC, tmp_path / "run", progress=progress, nights=nights)
    assert "stopped" not in capsys.readouterr().err
    if name == "mlflow":
        from mlflow import MlflowClient

        client = MlflowClient()
        place = client.get_experiment_by_name("sleepgym")
        (only,) = client.search_runs([place.experiment_id])
        assert only.data.metrics["final/average_accuracy"] == 1.0
        assert only.data.params["seed"] == "5"
        steps = [point.step for point in client.get_metric_history(only.info.run_id, "score/today")]
        assert steps == [1, 2, 3]
    elif name == "wandb":
        assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    else:
        assert list((tmp_path / "trackio").rglob("*"))

"""Suites on a Ray cluster of two nodes, each with one CPU; what needs no Ray is tested always."""

import io
import os
import socket
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sleepgym.cli import run_command
from sleepgym.core.errors import BadSetting, SleepGymError
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.suite import cluster
from sleepgym.suite.cluster import Place, RayLauncher, adopt_run, pack_run, run_on_worker
from sleepgym.suite.launchers import Job, LostWorker, run_suite


def jobs(out, *agents, days=3):
    settings = {"days": days}
    return [(RunSpec("toy:Toy", a, settings, seed=5), out / a.replace(":", "-")) for a in agents]


def answers(out):
    return [(line["step"], line["id"], line["answer"]) for line in read_run(out).answers]


def contents(out):
    files = [file for file in out.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file.relative_to(out): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The record of a run as it is without a cluster."""
    out = tmp_path_factory.mktemp("local") / "run"
    run(RunSpec("toy:Toy", "toy:Notes", {"days": 3}, seed=5), out)
    return out


def test_an_archive_is_adopted_with_the_journal_last(tmp_path, local):
    copy = tmp_path / "copy"
    run(RunSpec("toy:Toy", "toy:Notes", {"days": 3}, seed=5), copy, nights=1)
    adopt_run(pack_run(local), copy)
    assert contents(copy) == contents(local)
    assert [state.name for state in (copy / "state").iterdir()] == ["night-00003"]


def test_a_file_out_of_the_folder_is_refused(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../escaped", "x")
    with pytest.raises(SleepGymError, match=r"out of its folder: '\.\./escaped'"):
        adopt_run(content.getvalue(), tmp_path / "there")
    assert not (tmp_path / "escaped").exists()


class Post:
    """Stands for the mailbox, and for Ray's way of calling it."""

    def __init__(self):
        self.sent = []
        self.put = SimpleNamespace(remote=lambda number, content: self.sent.append(content))


@pytest.fixture
def unseen(tmp_path, monkeypatch):
    """A worker that does not see the suite's folder, without Ray."""
    monkeypatch.setattr(cluster, "_import_ray", lambda: SimpleNamespace(get=id))
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    return Place(tmp_path / "nowhere", "/", (), {})


def test_a_worker_that_does_not_see_the_folder_sends_every_night(tmp_path, unseen, local):
    post, (spec, out) = Post(), jobs(tmp_path / "there", "toy:Notes")[0]
    error, content = run_on_worker(Job(spec, out), unseen, b"", post, 0)
    assert error is None
    assert not out.exists()
    nights = []
    for sent in [*post.sent, content]:
        adopt_run(sent, tmp_path / "here")
        nights.append(len(read_run(tmp_path / "here").nights))
    assert nights == [0, 1, 2, 3]
    assert answers(tmp_path / "here") == answers(local)


def test_it_asks_for_the_run_so_far_and_goes_on(tmp_path, unseen, local):
    post, (spec, out) = Post(), jobs(tmp_path / "there", "toy:Notes")[0]
    assert run_on_worker(Job(spec, out), unseen, None, post, 0) == (None, None)
    run(spec, out, nights=2)
    _, content = run_on_worker(Job(spec, out), unseen, pack_run(out), post, 0)
    assert len(post.sent) == 1  # the morning after night 2, which was not lived yet
    assert content is not None
    adopt_run(content, out)
    assert answers(out) == answers(local)


def test_an_error_of_a_run_comes_back_with_its_folder(tmp_path, unseen):
    spec, out = jobs(tmp_path / "there", "toy:Sleepless")[0]
    error, content = run_on_worker(Job(spec, out), unseen, b"", Post(), 0)
    assert "raised ValueError in night 2" in str(error)
    assert content is not None
    adopt_run(content, out)
    assert len(read_run(out).nights) == 1


def test_bad_options_are_one_line(tmp_path, capsys, monkeypatch):
    def refuse(*options):
        command = ["suite", "demo", "--out", str(tmp_path / "out"), *options]
        assert run_command(command) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "unknown launcher 'rai': did you mean ray?" in refuse("--launcher", "rai")
    assert "address=x:1: of --launcher ray alone" in refuse("--address", "x:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    error = refuse("--launcher", "ray")
    assert error.strip() == "sleepgym: launcher=ray: ray is not installed: pip install " + (
        "'sleepgym[ray]'"
    )


def test_an_address_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr(cluster, "_import_ray", lambda: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadSetting, match=f"address=127.0.0.1:{port}: does not answer .*refused"):
        RayLauncher(f"127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(cluster, "ANSWER_S", 0.2)
        with pytest.raises(BadSetting, match=r"does not answer .*timed out"):
            RayLauncher(f"127.0.0.1:{silent.getsockname()[1]}")
    for address in ("nowhere", "host:", ":6379", "host:99999999"):
        with pytest.raises(BadSetting, match=r"must be HOST:PORT|does not answer"):
            RayLauncher(address)
    for gpus in (1.5, -1, float("nan")):
        with pytest.raises(BadSetting, match="gpus-per-run"):
            RayLauncher(None, gpus)


def test_a_machine_too_busy_for_ray_is_one_line(monkeypatch):
    def init(**_):
        raise RuntimeError("The current node timed out during startup.\nMore of it")

    monkeypatch.setattr(cluster, "_import_ray", lambda: SimpleNamespace(init=init))
    with pytest.raises(BadSetting, match=r"^launcher=ray: Ray did not start .*startup.\): try"):
        next(RayLauncher().launch([]))


@pytest.fixture(scope="module")
def ray_cluster():
    pytest.importorskip("ray", reason="ray is not installed: pip install 'sleepgym[ray]'")
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seen", [True, False])
def test_a_suite_on_two_nodes_survives_its_workers(ray_cluster, tmp_path, monkeypatch, local, seen):
    deaths, out, said, told = tmp_path / "deaths", tmp_path / "out", [], []
    deaths.write_text("1")
    monkeypatch.setenv("SLEEPGYM_TEST", "x")
    monkeypatch.setattr(cluster, "_ENVIRONMENT", ("TOY_", "SLEEPGYM_"))
    monkeypatch.setenv("TOY_DEATHS", str(deaths))
    if not seen:
        monkeypatch.setattr(cluster, "_here", lambda m: replace(HERE(m), marker=tmp_path / "no"))
    runs = jobs(out, "toy:Notes", "toy:Mortal", "toy:Slow")
    launcher = RayLauncher(ray_cluster.address)
    run_suite(runs, launcher, lambda done, total, what: told.append((done, what)), say=said.append)
    for _, path in runs:
        assert answers(path) == answers(local)
    assert said == ["toy:Mortal, seed 5: its worker died (WorkerCrashedError); it goes on, try 2"]
    assert told[-1][0] == 3
    assert not list(out.rglob(".cluster-*"))
    deaths.write_text("99")
    runs = jobs(tmp_path / "again", "toy:Mortal", "toy:Notes")
    with pytest.raises(LostWorker, match=r"toy:Mortal, seed 5: its worker died .* 3 times"):
        run_suite(runs, RayLauncher(ray_cluster.address))
    assert read_run(runs[1][1]).finished  # the others went on
    assert len(read_run(runs[0][1]).nights) == 1
    deaths.write_text("0")
    run_suite(runs, RayLauncher(ray_cluster.address))
    assert answers(runs[0][1]) == answers(local)


HERE = cluster._here


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_a_cluster_lacks_is_one_line(ray_cluster, tmp_path):
    runs = jobs(tmp_path, "toy:Notes")
    with pytest.raises(BadSetting, match=r"gpus-per-run=1.0: no node .* more than 0 GPUs"):
        run_suite(runs, RayLauncher(ray_cluster.address, 1.0))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_gone_costs_nothing_but_time(ray_cluster, tmp_path):
    node = ray_cluster.add_node(num_cpus=1)
    ray_cluster.wait_for_nodes()
    spec = RunSpec("toy:Toy", "toy:Slow", {"days": 40}, seed=5)
    runs, said, removed = [(spec, tmp_path / name) for name in "abc"], [], []

    def progress(done, total, what):
        if not removed and all((out / "phases.jsonl").is_file() for _, out in runs):
            removed.append(what)
            ray_cluster.remove_node(node, allow_graceful=False)

    run_suite(runs, RayLauncher(ray_cluster.address), progress, say=said.append)
    assert len(removed) == len(said) == 1
    assert "its worker died" in said[0]
    assert said[0].endswith("it goes on, try 2")
    assert answers(runs[0][1]) == answers(runs[1][1]) == answers(runs[2][1])

"""Agents in processes and sandboxes of their own: same records, no way out, one line of error."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sleepgym.core.errors import AgentError, BadRun, BadSetting, MissingData, UnknownName
from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.types import Document, Experience
from sleepgym.runs.isolation import memory, messages, nursery, process, sandbox, starters
from sleepgym.runs.isolation.view import import_view
from sleepgym.runs.records import TIMES, read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from strangers import INSIDE, OUTSIDE, RUN_FOLDER, Passer

SALT = "0123456789abcdef" * 2
HAS_SANDBOX = sandbox.strictest_isolation() == "sandbox"
NEEDS_SANDBOX = pytest.mark.skipif(not HAS_SANDBOX, reason="no bubblewrap here")
LEVELS = ["process", pytest.param("sandbox", marks=NEEDS_SANDBOX)]


def stranger(name, level, **settings):
    return RunSpec("toy:Toy", f"strangers:{name}", seed=3, isolation=level, salt=SALT, **settings)


def record(path):
    found = read_run(path)
    timeless = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
        for rows in (found.nights, found.phases)
    ]
    return (path / "answers.jsonl").read_bytes(), timeless


@pytest.mark.parametrize("level", LEVELS)
def test_the_record_is_the_same_as_in_process(tmp_path, level):
    here = RunSpec("toy:Toy", "toy:Pupil", seed=3, salt=SALT)
    run(here, tmp_path / "here")
    run(replace(here, isolation=level), tmp_path / "there", nights=1)
    run(replace(here, isolation=level, salt=""), tmp_path / "there")  # it has one
    assert record(tmp_path / "there") == record(tmp_path / "here")
    meta = read_run(tmp_path / "there").meta
    assert (meta["spec"]["isolation"], meta["salt"]) == (level, SALT)


@pytest.mark.parametrize("level", LEVELS)
def test_a_stranger_finds_nothing(tmp_path, level):
    found = run(stranger("Seeker", level), tmp_path / RUN_FOLDER).nights[-1]["log"]
    finds = [*INSIDE, *(OUTSIDE if level == "sandbox" else ())]
    assert {find.__name__: found[find.__name__] for find in finds} == {
        find.__name__: 0.0 for find in finds
    }


def test_documents_made_on_demand_cross_one_by_one_and_are_never_held(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documents = [Document(f'line\n{n} "\ud800"', str(n)) for n in range(5)]
    told = [Experience(LazySequence(lambda: documents)), Experience(tuple(documents[:2]))]
    plain = json.loads(json.dumps(messages.plain_experiences(told, later=True)))
    assert plain[0][0] is None
    assert len(plain[1][0]) == 2
    lines = messages.following(told)
    received = messages.read_experiences(plain, lambda: json.loads(next(lines)))
    assert not list(lines)
    assert isinstance(received[0].documents, LazySequence)
    assert [list(one.documents) for one in received] == [documents, documents[:2]]
    assert list(received[0].documents) == documents  # again
    assert len(list(tmp_path.iterdir())) == 1
    del received
    assert not list(tmp_path.iterdir())
    assert messages.read_experiences(messages.plain_experiences(told))[0].documents == (*documents,)


def test_a_long_day_is_read_the_same_in_a_process_of_its_own(tmp_path):
    settings = {"days": 1, "tokens": 400, "chunk_tokens": 50, "needles": 2}
    here = RunSpec("sleepgym/Haystack-v0", "nearest", seed=3, salt=SALT, env_settings=settings)
    run(here, tmp_path / "here")
    run(replace(here, isolation="process"), tmp_path / "there")
    assert record(tmp_path / "there") == record(tmp_path / "here")
    assert read_run(tmp_path / "here").nights[-1]["state_text_bytes"] > 1000


def test_libraries_installed_into_a_folder_of_their_own_are_in_sight(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "faraway.py").touch()
    assert "faraway.py" not in dict(import_view("strangers:Seeker", "toy:Toy"))
    (tmp_path / "faraway-1.0.dist-info").mkdir()  # as pip install --target leaves it
    assert "faraway.py" in dict(import_view("strangers:Seeker", "toy:Toy"))


def test_without_isolation_it_finds_a_lot(tmp_path):
    spec = replace(stranger("Seeker", "in-process"), salt="")
    found = run(spec, tmp_path / RUN_FOLDER, nights=1).nights[-1]["log"]
    assert found["seed"] == 1.0
    assert found["families"] > 0


@pytest.mark.parametrize("level", LEVELS)
def test_instances_pass_nothing_on(tmp_path, level):
    Passer.drop.unlink(missing_ok=True)
    log = run(stranger("Passer", level), tmp_path / "run").nights[-1]["log"]
    # a process can write where others look; a sandbox has nowhere
    assert log["passed"] == Passer.drop.exists()
    assert Passer.drop.exists() == (level == "process")
    Passer.drop.unlink(missing_ok=True)


def sleepers():
    """Processes that :class:`strangers.Parent` started."""
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if "time.sleep(987)" in line]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("agent", "says", "nights"),
    [
        ("Crasher", "in night 2: its process ended without an answer", 1),
        ("Hanger", "in night 2: its process did not answer within 8 s", 1),
        ("Flooder", "in evening of day 1: it gave an answer of 48000000 characters", 0),
        ("Shouter", "its process answered with more than 67108864 bytes", 0),
        ("Rewinder", "in night 1: its meter counted -5 train_tokens: counters only grow", 0),
        ("Talker", "gave the answer", 0),
        ("Raiser", "raised ValueError in night 2: nightmare", 1),
        ("Quitter", r"raised SystemExit in night 2: bye\ufffd\[2J", 1),
    ],
)
def test_what_breaks_down_is_one_line_and_resumable(tmp_path, level, agent, says, nights):
    out = tmp_path / "run"
    limit_s = 8.0 if agent == "Hanger" else 60.0
    for _ in range(2 if agent == "Raiser" else 1):
        with pytest.raises(AgentError, match=says) as caught:
            run(stranger(agent, level, phase_limit_s=limit_s), out)
        assert "\n" not in str(caught.value)
        assert len(read_run(out).nights) == nights
    if agent == "Raiser":
        assert "second line" in (out / "error.log").read_text()


@pytest.mark.parametrize(
    "level", ["process", pytest.param("sandbox", marks=[pytest.mark.slow, NEEDS_SANDBOX])]
)
def test_its_memory_is_bounded_with_that_of_what_it_starts(tmp_path, monkeypatch, level):
    call = replace(stranger("Hoarder", level).agent_call(), memory_bytes=500_000_000)
    monkeypatch.setattr(RunSpec, "agent_call", lambda spec: call)
    with pytest.raises(AgentError, match=r"night 2: its process took .* GB of memory, of 0\.5"):
        run(stranger("Hoarder", level), tmp_path / "run")
    assert len(read_run(tmp_path / "run").nights) == 1


def in_sandbox(folder, code):
    """What Python prints in a sandbox that may import nothing."""
    for name in ("state", "saved"):
        (folder / name).mkdir()
    words = [*sandbox.sandboxed([], folder, {}), "-S", "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_files_that_a_container_holds_count_as_free_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 1\nactive_file 500000\ninactive_file 200000\n")
    assert memory.free_memory_bytes() == 800_000
    (tmp_path / "memory.max").write_text("max\n")  # no limit
    assert memory.free_memory_bytes() > 1_000_000


@pytest.mark.skipif(not HAS_SANDBOX or not sandbox._knows_sizes(), reason="no such bubblewrap here")
def test_folders_in_the_memory_of_a_sandbox_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "SCRATCH_BYTES", 1 << 20)
    code = """
for folder in ("/", "/dev", "/dev/shm", "/tmp", "/usr"):
    try:
        print(folder, open(f"{folder}/filler", "wb", buffering=0).write(bytes(1 << 23)))
    except OSError:
        pass
"""
    assert in_sandbox(tmp_path, code).split() == ["/dev/shm", str(1 << 20), "/tmp", str(1 << 20)]


@NEEDS_SANDBOX
def test_a_checkout_and_data_among_the_systems_folders_are_covered(tmp_path, monkeypatch):
    system, data = tmp_path / "usr", tmp_path / "usr" / "share" / "data"
    checkout = system / "src" / "app"
    for folder in (checkout / "sleepgym", checkout / "submissions", data, system / "lib"):
        folder.mkdir(parents=True)
        (folder / "answers.json").touch()
    monkeypatch.setattr(sandbox, "_SYSTEM", (*sandbox._SYSTEM, str(system)))
    monkeypatch.setenv("SLEEPGYM_DATA", str(data))
    monkeypatch.syspath_prepend(checkout)
    monkeypatch.chdir(checkout / "submissions")
    code = f"from pathlib import Path; print(*Path({str(system)!r}).rglob('*.json'))"
    assert in_sandbox(tmp_path, code).split() == [str(system / "lib" / "answers.json")]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("agent", ["Parent", "Forker"])
def test_what_it_started_ends_with_it(tmp_path, level, agent):
    assert run(stranger(agent, level), tmp_path / "run", nights=2).nights
    assert sleepers() == []


def test_who_ends_its_parent_leaves_nothing_either(tmp_path):
    with pytest.raises(AgentError, match="night 2: its process ended without an answer"):
        run(stranger("Orphaner", "process"), tmp_path / "run")
    assert sleepers() == []


def test_a_parent_that_was_stopped_goes_on(tmp_path):
    assert run(stranger("Stopper", "process", env_settings={"days": 1}), tmp_path / "run").finished


@pytest.mark.parametrize("level", LEVELS)
def test_a_fetched_model_keeps_its_name(tmp_path, monkeypatch, level):
    (tmp_path / "cache" / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "tiny" / "config.json").touch()
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(starters, "_starters", {})  # its variables are those of its start
    spec = stranger("Fetched", level, model="tiny")
    log = run(spec, tmp_path / "run", nights=1).nights[0]["log"]
    for starter in starters._starters.values():
        starter.close()
    assert log == {"model": 1.0, "token": float(level == "process")}


@pytest.mark.parametrize("level", LEVELS)
def test_who_ends_its_parent_ends_nothing_else(tmp_path, level):
    if level == "process":
        with pytest.raises(AgentError, match="night 2: its process ended without an answer"):
            run(stranger("Parricide", level), tmp_path / "run")
        assert len(read_run(tmp_path / "run").nights) == 1
    else:  # nothing of the outside is in its reach, its parent included
        assert run(stranger("Parricide", level), tmp_path / "run").finished
    assert run(stranger("Parent", level), tmp_path / "next").finished
    assert sleepers() == []


def test_what_a_killed_run_made_is_removed(tmp_path):
    code = (
        "import os, signal; from sleepgym.runs.runner import run; "
        "from sleepgym.runs.spec import RunSpec; "
        f"run(RunSpec('toy:Toy', 'strangers:Honest', isolation='process'), {str(tmp_path)!r} + "
        "'/run', nights=1); from sleepgym.runs.isolation.starters import _starters; "
        "(s,) = _starters.values(); print(s.process.pid, s.folder, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    places = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = [sys.executable, "-c", code]
    told = subprocess.run(
        words, env={**os.environ, **places}, capture_output=True, text=True, check=False
    )
    assert told.returncode == -9, told.stderr
    nursery, folder = told.stdout.split()
    until_s = time.monotonic() + 30
    while Path(folder).exists() or Path(f"/proc/{nursery}").exists():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_work_is_measured_wherever_it_is_done(tmp_path):
    from strangers import Burner

    burnt = Burner.BURNT_S
    for level in ("in-process", "process"):
        for agent in ("Burner", "Clockmaker"):
            spec = stranger(agent, level, env_settings={"days": 2, "night_seconds": 2 * burnt})
            record = run(spec, tmp_path / f"{agent}-{level}")
            first, second = record.nights
            assert first["setup_seconds"] >= burnt  # told the day
            assert second["setup_seconds"] >= 2 * burnt  # loaded too
            assert second["saving_seconds"] >= burnt
            assert first["processor_seconds"] > 1.8 * burnt
            assert second["processor_seconds"] > 2.8 * burnt
            assert second["exceeded"] == ["night_seconds"]
            assert second["seconds"] < burnt
            study = [line for line in record.phases if line["phase"] == "study"]
            assert all(line["processor_seconds"] > 0.8 * burnt for line in study)


def test_a_library_with_threads_is_left_to_the_instances(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # NumPy's own threads do no harm
    libraries = {*process._LIBRARIES, "thread_on_import"}
    monkeypatch.setattr(process, "_LIBRARIES", libraries)
    monkeypatch.setattr(starters, "_starters", {})
    spec = stranger("Threaded", "process", phase_limit_s=20)
    nights = run(spec, tmp_path / "run").nights
    assert [line["log"]["doubled"] for line in nights] == [2.0, 4.0, 6.0]
    (starter,) = starters._starters.values()
    assert {"thread_on_import", "numpy"} <= set(starter.modules)  # it was told to import both
    assert len(os.listdir(f"/proc/{starter.process.pid}/task")) == 1  # after a fork not even those
    starter.close()


def test_where_every_library_starts_threads_none_is_imported(monkeypatch):
    """A build of torch that starts one: a start anew for each of its thousand modules is no end."""
    begun = []

    class Begun(BaseException):
        pass

    def execv(_, words):
        begun.append(words[-1])
        raise Begun

    monkeypatch.setattr(nursery.os, "execv", execv)
    monkeypatch.setattr(nursery, "preload", iter)
    counts = iter(range(100))
    monkeypatch.setattr(nursery, "count_threads", lambda: (next(counts), 0))
    names = [f"{library}.{n}" for library in "abcdefghij" for n in range(50)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        left_out = []
        while len(begun) < 10:
            with contextlib.suppress(Begun):
                nursery.Nursery(ours, left_out).preload(names)
                break
            left_out = [*left_out, "abcdefghij"[len(begun) - 1]]
            assert repr(left_out) in begun[-1]
    assert len(begun) == nursery.MOST_LEFT_OUT + 1


def test_a_salt_is_drawn_kept_and_checked(tmp_path):
    spec = replace(stranger("Honest", "process"), salt="", agent="board_agents:Honest")
    salts = [run(spec, tmp_path / name, nights=1).meta["salt"] for name in "ab"]
    assert len(set(salts)) == 2
    assert all(len(salt) == 32 for salt in salts)
    with pytest.raises(BadRun, match="salt"):
        run(replace(spec, salt=SALT), tmp_path / "a")
    with pytest.raises(BadSetting, match="32 to 128 hexadecimal digits"):
        replace(spec, salt="secret")


def test_without_a_salt_the_seed_is_as_before():
    from sleepgym import derive_seed

    assert RunSpec("toy:Toy", "toy:Notes", seed=3).agent_seed == derive_seed(3, "agent")


@pytest.mark.parametrize(
    "level",
    [
        "in-process",
        pytest.param("process", marks=pytest.mark.slow),
        pytest.param("sandbox", marks=NEEDS_SANDBOX),
    ],
)
def test_a_refused_run_leaves_nothing(tmp_path, level):
    spec = RunSpec("toy:Toy", "frozen", isolation=level, model="/nowhere/at/all")
    with pytest.raises((UnknownName, MissingData), match="there is no such folder"):
        run(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UnknownName, match="unknown setting"):
        run(replace(spec, agent_settings={"nothing": 1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_sandbox_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    sandbox.require_sandbox.cache_clear()
    monkeypatch.setattr("sleepgym.runs.isolation.starters._starters", {})
    with pytest.raises(MissingData, match="needs bubblewrap, which is not installed"):
        run(stranger("Crasher", "sandbox"), tmp_path / "run")
    sandbox.require_sandbox.cache_clear()
    assert not (tmp_path / "run").exists()


def test_an_audit_of_before_is_read_as_a_level(tmp_path):
    out = tmp_path / "run"
    run(RunSpec("toy:Toy", "toy:Notes", seed=3), out, nights=1)
    meta = json.loads((out / "run.json").read_text())
    meta["schema"] = 2
    del meta["salt"], meta["spec"]["isolation"]
    for audit, level in (("instance", "in-process"), ("process", "process"), ("off", "off")):
        meta["spec"]["audit"] = audit
        Path(out / "run.json").write_text(json.dumps(meta))
        assert read_run(out).meta["spec"]["isolation"] == level
    meta["spec"]["audit"] = "process"  # and it goes on, with the seed that it had
    Path(out / "run.json").write_text(json.dumps(meta))
    run(RunSpec("toy:Toy", "toy:Notes", seed=3, isolation="process"), out)
    assert read_run(out).altered == ()  # its lines are not chained, and stay so
    run(RunSpec("toy:Toy", "toy:Notes", seed=3), tmp_path / "reference")
    assert record(out)[1] == record(tmp_path / "reference")[1]
    assert read_run(out).answers == read_run(tmp_path / "reference").answers


def test_runs_that_lie_beside_an_agent_are_not_in_its_view(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class Mine: ...")
    boards = ("boards/run.py", "boards/sleepgym_boards/board.py")  # of a checkout
    answers = ("runs/seed-0/samples.jsonl", "data/secret.json")
    for name in ("helpers/__init__.py", *boards, *answers):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    seen = {name for name, path in import_view("mine:Mine", "toy:Toy") if path.parent == tmp_path}
    assert seen == {"mine.py", "helpers"}

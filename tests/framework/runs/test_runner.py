import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from sleepgym.core.errors import AgentError, BadRun, BadSetting, SleepGymError
from sleepgym.runs import journal as journal_module
from sleepgym.runs.costs.ledger import unpaid, unpaid_nights
from sleepgym.runs.records import TIMES, read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from toy import Notes

SPEC = RunSpec("toy:Toy", "toy:Notes", seed=3)


def spec(agent, **settings):
    return RunSpec("toy:Toy", f"toy:{agent}", seed=3, **settings)


def timeless(rows):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def contents(path):
    """All that must repeat: answers byte for byte, the other records without their times."""
    record = read_run(path)
    answers = (path / "answers.jsonl").read_bytes()
    return answers, timeless(record.nights), timeless(record.phases), record.meta


def morning_scores(record, night, day):
    rows = [r for r in record.answers if r["phase"] == "morning" and r["night"] == night]
    return [r["score"] for r in rows if r["item_day"] == day]


def test_a_run_is_recorded(tmp_path):
    record = run(SPEC, tmp_path / "run")
    assert record.finished
    assert [line["night"] for line in record.nights] == [1, 2, 3]
    assert record.nights[0]["log"] == {"notes": 3.0}
    state = tmp_path / "run" / "state" / "night-00003" / "notes.json"
    assert record.nights[2]["state_bytes"] == state.stat().st_size + len(state.name)
    assert record.nights[2]["train_tokens"] == 7
    assert morning_scores(record, 3, 1) == [1.0, 1.0]
    assert record.meta["spec"]["env_settings"] == {"days": 3, "facts": 2}
    assert record.meta["spec"]["model"] is None
    assert [p.name for p in (tmp_path / "run" / "state").iterdir()] == ["night-00003"]


def test_two_runs_of_one_specification_are_identical(tmp_path):
    run(SPEC, tmp_path / "a")
    run(SPEC, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_running_again_changes_nothing(tmp_path):
    run(SPEC, tmp_path / "a")
    before = {p: p.read_bytes() for p in (tmp_path / "a").glob("*.json*")}
    run(SPEC, tmp_path / "a")
    assert before == {p: p.read_bytes() for p in (tmp_path / "a").glob("*.json*")}


def test_what_is_not_saved_is_gone_in_the_morning(tmp_path):
    record = run(spec("Fleeting"), tmp_path / "run")
    evening = [r["score"] for r in record.answers if r["phase"] == "evening"]
    assert evening == [1.0] * 6
    assert morning_scores(record, 1, 1) == [0.0, 0.0]
    assert morning_scores(record, 3, 0) == [1.0]


def test_a_fresh_process_catches_what_is_hidden_in_a_class(tmp_path):
    record = run(spec("Smuggler", isolation="process"), tmp_path / "run")
    assert record.finished
    assert morning_scores(record, 1, 1) == [0.0, 0.0]


def test_learning_while_answering_changes_nothing(tmp_path):
    assert (
        contents(run(spec("Cribber"), tmp_path / "cribber").path)[:3]
        == contents(run(SPEC, tmp_path / "notes").path)[:3]
    )


def test_every_exam_has_an_instance_of_its_own_and_none_of_them_sleeps(tmp_path, monkeypatch):
    lives = []  # what each instance was asked to do, in the order in which they were made

    class Watched(Notes):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.life = []
            lives.append(self.life)

    for method in ("study", "practice", "answer", "sleep", "save", "load"):

        def watch(self, *args, method=method):
            self.life.append(method)
            return getattr(Notes, method)(self, *args)

        setattr(Watched, method, watch)
    monkeypatch.setattr("toy.Watched", Watched, raising=False)
    run(RunSpec("toy:Toy", "toy:Watched", {"days": 2}, seed=3), tmp_path / "run")
    first_day = ["study", "answer", "practice", "answer"]  # practice, then the evening exam
    night = ["study", "practice", "sleep", "save"]
    assert lives == [
        ["answer"],
        first_day,
        night,
        ["load", "answer"],
        ["load", *first_day],
        ["load", *night],
        ["load", "answer"],
    ]


def test_feedback_teaches(tmp_path):
    record = run(spec("Pupil"), tmp_path / "run")
    assert record.finished
    drills = [r["answer"] for r in record.answers if r["phase"] == "practice"]
    assert drills == ["cold", "warm", "warm"]


@pytest.mark.parametrize("first", [1, 2])
def test_numbers_that_change_for_nothing_are_refused(tmp_path, monkeypatch, first):
    class Free(Notes):
        """Trains in a loop of its own, from some night on, and tells the meter nothing."""

        charged, number = 0, 0

        def sleep(self, night):
            self.meter.train_tokens += self.charged
            self.number = max(0, night.number + 1 - first)
            return {}

        def save(self, path):
            super().save(path)
            numbers = np.full(64, self.number + 0.1, dtype=np.float32)
            save_file({"w": numbers}, path / "weights.safetensors")

    monkeypatch.setattr("toy.Free", Free)
    out = tmp_path / "run"
    with pytest.raises(
        AgentError, match=f"night {first}: .* bytes of numbers in the state changed"
    ):
        run(spec("Free"), out)
    assert len(read_run(out).nights) == first - 1
    monkeypatch.setattr(Free, "charged", 1)
    record = run(spec("Free"), out)
    assert [line["added_parameters"] for line in record.nights] == [64] * 3
    assert {line["declared_parameters"] for line in record.nights} == {0}
    paid = [line["train_tokens"] for line in record.nights]
    assert paid == [0] * (first - 1) + [1] * (4 - first)  # numbers as they were at birth are free
    assert unpaid_nights(record.phases, record.nights) == (
        [] if first == 1 else [f"night 1: {unpaid(bytes_of_numbers(record), True, 0)}"]
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"added_parameters": 2.5}, "added_parameters=2.5: must be a whole number from 0 to 1e"),
        ({"added_parameters": 10**400}, "added_parameters=1000.*: must be a whole number"),
        ({"log": {"loss": 10**400}}, "logged loss=.int too large.* in night 1: not a number"),
        (
            {"counted": float("nan")},
            r"its meter says \[0, 0, nan, 0.0\]: counters are numbers from 0",
        ),
        ({"counted": 10**400}, "its meter says .*: counters are numbers from 0 to 1e"),
        ({"raises": SystemExit("bye\x1b[2J")}, "raised SystemExit in night 1: bye\ufffd"),
    ],
)
def test_what_is_no_number_or_no_text_is_one_line_and_leaves_no_line(
    tmp_path, monkeypatch, wrong, says
):
    class Wrong(Notes):
        added_parameters = wrong.get("added_parameters", 0)

        def sleep(self, night):
            self.meter.train_tokens = wrong.get("counted", 0)
            if "raises" in wrong:
                raise wrong["raises"]
            return wrong.get("log", {})

    monkeypatch.setattr("toy.Wrong", Wrong, raising=False)
    with pytest.raises(AgentError, match=says) as caught:
        run(spec("Wrong"), tmp_path / "run")
    assert str(caught.value).isprintable()
    assert read_run(tmp_path / "run").nights == []


def bytes_of_numbers(record):
    return record.nights[0]["state_weights_bytes"]


def test_a_wrong_number_of_answers_is_refused(tmp_path):
    with pytest.raises(AgentError, match=r"6 answers to 7 questions in morning after night 0"):
        run(spec("Short"), tmp_path / "run")
    assert read_run(tmp_path / "run").phases == []


@pytest.mark.parametrize("given", [None, "yes", {"yes"}, {"yes": 1}, 3])
def test_answers_without_an_order_are_refused(tmp_path, monkeypatch, given):
    monkeypatch.setattr(Notes, "answer", lambda self, questions: given)
    with pytest.raises(AgentError, match="it must give a list of strings"):
        run(SPEC, tmp_path / "run")


def test_an_agent_that_raises_at_night_leaves_a_resumable_run(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(AgentError, match="raised ValueError in night 2: nightmare \\(") as caught:
        run(spec("Sleepless"), out)
    assert "\n" not in str(caught.value)
    assert "second line" in (out / "error.log").read_text()
    assert [line["night"] for line in read_run(out).nights] == [1]
    monkeypatch.setattr("toy.Sleepless.sleep", Notes.sleep)
    assert run(spec("Sleepless"), out).finished
    run(SPEC, tmp_path / "reference")
    assert (out / "answers.jsonl").read_bytes() == (
        tmp_path / "reference" / "answers.jsonl"
    ).read_bytes()


def test_what_is_not_finite_is_logged_as_null(tmp_path):
    assert run(spec("Nan"), tmp_path / "run").nights[0]["log"] == {"loss": None}


def test_another_configuration_is_refused_and_named(tmp_path):
    run(SPEC, tmp_path / "run")
    other = RunSpec("toy:Toy", "toy:Notes", {"days": 4}, seed=3)
    with pytest.raises(BadRun, match="days is 3 there and 4 here"):
        run(other, tmp_path / "run")


def test_a_run_that_failed_at_its_start_gives_way(tmp_path):
    with pytest.raises(AgentError, match="6 answers"):
        run(spec("Short"), tmp_path / "run")
    assert run(SPEC, tmp_path / "run").meta["spec"]["agent"] == "toy:Notes"


@pytest.mark.parametrize("night", [1, 2])
def test_settings_that_are_refused_before_the_first_night_leave_nothing(
    tmp_path, monkeypatch, night
):
    def sleep(self, given):
        if given.number >= night:
            raise BadSetting("store_bytes=3: one item takes 121 bytes")
        return {}

    out = tmp_path / "run"
    with monkeypatch.context() as broken:
        broken.setattr(Notes, "sleep", sleep)
        with pytest.raises(BadSetting, match="store_bytes=3"):
            run(SPEC, out)
    assert out.exists() == (night == 2)  # what was slept is kept
    assert run(SPEC, out).finished


def test_what_is_not_the_runs_survives_it(tmp_path, monkeypatch):
    def study(self, documents):
        (tmp_path / "run" / "notes.txt").write_text("mine")
        raise BadSetting("no")

    monkeypatch.setattr(Notes, "study", study)
    with pytest.raises(BadSetting, match="no"):
        run(SPEC, tmp_path / "run")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(BadRun, match="not empty"):
        run(SPEC, tmp_path)


def test_a_second_process_is_refused(tmp_path):
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(BadRun, match="another process"):
        run(SPEC, tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', "\x00"])
def test_an_unreadable_run_directory_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadRun, match=r"run\.json"):
        read_run(tmp_path)


def test_a_full_disk_is_one_line_and_resumable(tmp_path, monkeypatch):
    append = journal_module.Journal._append
    calls = 0

    def full(self, name, rows):
        nonlocal calls
        calls += 1
        if calls > 9:
            raise OSError(28, "No space left on device")
        append(self, name, rows)

    monkeypatch.setattr(journal_module.Journal, "_append", full)
    with pytest.raises(SleepGymError, match="disk is full"):
        run(SPEC, tmp_path / "run")
    monkeypatch.undo()
    assert run(SPEC, tmp_path / "run").finished
    run(SPEC, tmp_path / "reference")
    assert contents(tmp_path / "run") == contents(tmp_path / "reference")


class Crash(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches SIGKILL."""


def test_a_crash_between_any_two_writes_loses_nothing(tmp_path, monkeypatch):
    short = RunSpec("toy:Toy", "toy:Notes", {"days": 2}, seed=3)
    run(short, tmp_path / "reference")
    expected = contents(tmp_path / "reference")
    for instant in range(200):
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        if not _crashes_at(instant, short, out, monkeypatch):
            assert instant >= 20  # every write of the run was hit once
            return
        for file in out.glob("*.jsonl"):  # the write that was cut short
            file.write_bytes(file.read_bytes() + b'{"torn": "li')
        assert run(short, out).finished
        assert contents(out) == expected, f"crash at write {instant}"
    raise AssertionError("the run never ended")


def _crashes_at(instant, spec, out, monkeypatch):
    """Run, and crash at the given call of fsync or replace; False where the run ends before."""
    calls = 0

    def crash_before(function):
        def wrapped(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > instant:
                raise Crash
            return function(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", crash_before(__import__("os").fsync))
        patch.setattr("os.replace", crash_before(__import__("os").replace))
        try:
            run(spec, out)
        except Crash:
            return True
    return False


def test_a_torn_last_line_is_rolled_back(tmp_path):
    out = tmp_path / "run"
    run(SPEC, out, nights=1)
    with open(out / "answers.jsonl", "a") as file:
        file.write('{"step": 99, "answer": "to')
    assert len(read_run(out).answers) == 10  # baseline 7, practice 1, evening 2
    run(SPEC, out)
    run(SPEC, tmp_path / "reference")
    assert contents(out) == contents(tmp_path / "reference")


def test_an_installed_package_is_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sleepgym.runs.spec.__file__", str(tmp_path / "sleepgym" / "runs" / "spec.py")
    )
    for told, said in (("0123abc", "0123abc"), ("", None)):
        monkeypatch.setenv("SLEEPGYM_COMMIT", told)
        folder = run(SPEC, tmp_path / f"run{told}").path
        assert json.loads((folder / "run.json").read_text())["commit"] == said


def test_run_json_says_where_it_ran(tmp_path):
    meta = json.loads((run(SPEC, tmp_path / "run").path / "run.json").read_text())
    assert meta["packages"]["sleepgym"]
    assert meta["platform"]["python"]
    assert meta["label"] == "toy:Notes"

"""Scores, groups and data frames from run directories."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sleepgym.core.errors import BadRun
from sleepgym.runs.records import RunRecord, read_run
from sleepgym.scoring.comparisons import command, compare, find_stateless, read_finished, read_runs
from sleepgym.scoring.frames import load_nights, load_runs, score_table
from sleepgym.scoring.glossary import GLOSSARY, explain
from sleepgym.scoring.scores import accuracy_matrix, score_group, score_run
from synthetic import write_run


@pytest.fixture
def run(tmp_path):
    return read_run(write_run(tmp_path / "run"))


def test_accuracy_matrix(run):
    nan = np.nan
    expected = [[0.9, 0, 0, 0], [0.8, 0.6, 0, nan], [0.7, 0.3, 0.6, 0], [0.6, 0.15, 0.3, 0.6]]
    np.testing.assert_allclose(accuracy_matrix(run), expected)


def test_score_run_by_hand(run):
    scores = score_run(run)
    expected = {
        "average_accuracy": 0.35,
        "anytime_accuracy": (0.6 + 0.45 + 0.35) / 3,
        "learning_accuracy": 0.6,
        "backward_transfer": -0.375,
        "forward_transfer": 0,
        "forgetting_first_last": 0.375,
        "forgetting_max": 0.375,
        "retention": 0.375,
        "half_life": 1,
        "evening_accuracy": 0.6,
        "morning_accuracy": 0.6,
        "consolidation": 1,
        "base_retention": 0.6 / 0.9,
        "gain": 0.35,
        "practice_accuracy": None,
        "accuracy_base": 0.6,
        "accuracy_direct": (0.2 + 0.4 + 0.8) / 3,
        "accuracy_two_hop": (0.1 + 0.2 + 0.4) / 3,
        "gap_two_hop": 0.7 / 3,
        "missing_answers": 1,
        "within_budget": 1,
        "night_seconds": 2,
        "night_read_tokens": 0,
        "night_generated_tokens": 0,
        "night_train_tokens": 200,
        "night_flops": 6e6,
        "awake_seconds": 10,
        "awake_read_tokens": 100,
        "awake_generated_tokens": 20,
        "awake_train_tokens": 0,
        "awake_flops": 1000,
        "added_parameters": 8,
        "state_bytes": 64,
        "state_weights_bytes": 40,
        "state_keys_bytes": 20,
        "state_text_bytes": 4,
    }
    assert scores == pytest.approx(expected)
    measured = ("processor_seconds", "gpu_seconds", "setup_seconds")  # this record is older
    assert {n for n in GLOSSARY if not n.endswith(measured)} < scores.keys()
    assert all(explain(name).endswith(".") for name in scores)
    assert all(value is None or type(value) is float for value in scores.values())


def test_consolidation_compares_the_same_questions(tmp_path):
    path = write_run(tmp_path / "run")
    lines = [json.loads(line) for line in (path / "answers.jsonl").read_text().splitlines()]
    for line in lines:
        if line["phase"] == "evening" and line["kind"] == "direct":
            line["prompt"] = "shown otherwise"
    (path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = score_run(read_run(path))
    assert scores["evening_accuracy"] == pytest.approx(0.4)  # two-hop questions alone
    assert scores["morning_accuracy"] == pytest.approx(0.4)


def test_gain_over_the_stateless_agent(tmp_path):
    mine = read_run(write_run(tmp_path / "a", decay=1, grow=True))
    frozen = read_run(write_run(tmp_path / "b", "frozen", first=0.4, decay=1, grow=True))
    assert score_run(mine)["gain"] is None  # the exam at birth showed other choices
    assert find_stateless(mine, [mine, frozen]) is frozen
    assert score_run(mine, frozen)["gain"] == pytest.approx((0.6 - 0.3) / 0.7)
    assert score_run(frozen, frozen)["gain"] == 0


def test_gain_refuses_another_stream(tmp_path, run):
    other = read_run(write_run(tmp_path / "other", "frozen", seed=1))
    assert find_stateless(run, [other]) is None
    with pytest.raises(BadRun, match="another stream"):
        score_run(run, other)


def test_unfinished_runs_have_no_scores(tmp_path):
    record = read_run(write_run(tmp_path / "half", phases_left=2))
    with pytest.raises(BadRun, match=r"not finished \(11 of 13 phases\): sleepgym resume"):
        score_run(record)


def test_a_line_without_a_field_is_named(tmp_path):
    path = write_run(tmp_path / "run")
    text = (path / "nights.jsonl").read_text().replace("state_bytes", "bytes_of_state")
    (path / "nights.jsonl").write_text(text)
    with pytest.raises(BadRun, match="lacks 'state_bytes'"):
        score_run(read_run(path))


def test_records_older_than_the_kinds_of_state_have_none_of_them(tmp_path):
    path = write_run(tmp_path / "run")
    text = (path / "nights.jsonl").read_text().replace("state_text_bytes", "state_words")
    (path / "nights.jsonl").write_text(text)
    assert score_run(read_run(path))["state_text_bytes"] is None


def test_one_run_scores_plainly_and_several_in_aggregate(tmp_path):
    runs = [read_run(write_run(tmp_path / f"{s}", seed=s, first=0.2 * s)) for s in range(1, 5)]
    assert score_group(runs[:1]) == score_run(runs[0])
    group = score_group(runs)
    assert group["mean"]["learning_accuracy"] == pytest.approx(0.375)
    assert group["iqm"]["learning_accuracy"] == pytest.approx(0.375)
    low, high = group["interval"]["learning_accuracy"]
    assert low < 0.375 < high
    assert group["n"]["practice_accuracy"] == 0
    assert group["mean"]["practice_accuracy"] is None
    assert list(group["runs"]) == [str(run.path) for run in runs]
    json.dumps(group, allow_nan=False)


def test_comparisons_group_by_environment_and_configuration(tmp_path):
    for seed in (1, 0):
        write_run(tmp_path / f"runs/naive/{seed}", seed=seed)
        write_run(tmp_path / f"runs/quick/{seed}", seed=seed, settings={"epochs": 1})
    [comparison] = compare(read_finished(tmp_path))
    assert comparison.environment["env"] == "sleepgym/Toy-v0"
    assert comparison.settings == "days=3, exams=full"
    assert comparison.changed == "days=3"
    found = {
        c.label: [r.meta["spec"]["seed"] for r in c.records] for c in comparison.configurations
    }
    assert found == {"naive": [0, 1], "naive (epochs=1)": [0, 1]}


def test_the_same_run_twice_is_refused(tmp_path):
    records = [read_run(write_run(tmp_path / name)) for name in "ab"]
    with pytest.raises(BadRun, match="same configuration and seed 0"):
        compare(records)


def test_command_repeats_the_run(run):
    words = "--env sleepgym/Toy-v0 --agent naive --env-set days=3 --env-set exams=full --seed 0"
    assert words in command(run)


def test_read_runs_tells_what_it_left_out(tmp_path):
    write_run(tmp_path / "good")
    write_run(tmp_path / "half", seed=1, phases_left=1)
    (write_run(tmp_path / "bad", seed=2) / "run.json").write_text("{")
    records, unreadable = read_runs(tmp_path, tmp_path / "good")
    assert [record.path.name for record in records] == ["good", "half"]
    assert list(unreadable) == [tmp_path / "bad"]
    with pytest.warns(UserWarning, match="left out"):
        assert [record.path.name for record in read_finished(tmp_path)] == ["good"]


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(BadRun, match="no run directory"):
        read_runs(tmp_path)
    with pytest.raises(BadRun, match="not a folder"):
        read_runs(tmp_path / "nowhere")


def test_frames(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=1, phases_left=1)
    answers, nights, table = load_runs(tmp_path), load_nights(tmp_path), score_table(tmp_path)
    a = answers[answers.run == str(tmp_path / "a")]
    last = a[(a.phase == "morning") & (a.night == 3) & (a.item_day > 0)]
    assert last.groupby("item_day").score.mean().mean() == pytest.approx(0.35)
    assert nights["log.loss"].tolist()[:2] == [1, 0.5]
    assert table.finished.tolist() == [True, False]
    assert table.average_accuracy[0] == pytest.approx(0.35)
    assert np.isnan(table.average_accuracy[1])


def test_a_retired_question_counts_in_no_row():
    """It was right in its own morning; the rows would otherwise hold different questions."""
    from pathlib import Path

    from sleepgym.runs.records import RunRecord
    from sleepgym.scoring.scores import accuracy_matrix

    def line(night, item, day, score):
        return {"phase": "morning", "night": night, "id": item, "item_day": day, "score": score}

    answers = [line(0, "kept", 1, 0.0), line(0, "retired", 1, 0.0)]
    answers += [line(1, "kept", 1, 0.0), line(1, "retired", 1, 1.0)]
    answers += [line(2, "kept", 1, 0.0), line(2, "new", 2, 1.0)]
    a = accuracy_matrix(RunRecord(Path("x"), {"days": 2}, answers, [], []))
    assert a[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert a[2, 2] == 1.0


def test_a_run_of_sampled_exams_says_how_far_its_average_may_be_off(run):
    plain = score_run(run)
    sampled = RunRecord(
        run.path, {**run.meta, "spec": {"exams": "sampled"}}, run.answers, run.nights, run.phases
    )
    scores = score_run(sampled)
    assert scores.pop("average_accuracy_margin") == 0.0  # all three days were asked
    assert scores == plain
    assert explain("average_accuracy_margin").endswith(".")

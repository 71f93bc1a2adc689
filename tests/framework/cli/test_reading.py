"""Tables and comparisons: ordered, within their range and width, in any encoding."""

import io
import json
import os
import subprocess
import sys

import pytest

from sleepgym.cli import run_command
from sleepgym.core.rng import derive_rng
from synthetic import write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three agents; the best has a name that sorts last, the middle one has seeds of its own."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        write_run(folder / f"zeta/{seed}", "zeta", seed, first=1 - 0.3 * seed, decay=1)
        write_run(folder / f"frozen/{seed}", "frozen", seed, first=0.1, decay=1)
    for seed in (1, 2, 7):
        write_run(folder / f"middle/{seed}", "middle", seed, first=0.3, decay=0.5)
    return folder


def printed(capsys, *arguments):
    assert run_command([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_the_best_agent_stands_first(runs, capsys):
    text = printed(capsys, "score", runs)
    names = ("zeta", "middle", "frozen")
    assert sorted(names, key=lambda name: text.index(f" {name}")) == list(names)


def test_intervals_stay_within_the_range_of_their_metric(runs, capsys):
    exact = json.loads(printed(capsys, "score", runs / "zeta", "--json"))
    low, high = exact["interval"]["average_accuracy"]
    assert (low < 0, high > 1) == (True, True)  # Student's t
    assert "[0.00, 1.00]" in printed(capsys, "score", runs / "zeta")


def test_seeds_and_settings_are_named(runs, capsys):
    text = printed(capsys, "score", runs)
    assert "sleepgym/Toy-v0 (days=3)" in text
    assert "middle (1-2, 7)" in text
    assert "zeta (0-2)" in text
    assert "exams=full" not in text
    assert "exams=full" in printed(capsys, "score", runs, "--verbose")
    assert "(days=3), seeds 0-2" in printed(capsys, "score", runs / "zeta")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_tables_fit_the_terminal_and_say_what_columns_are(columns, runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capsys, "score", runs)
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    assert "average accuracy: after the last night" in " ".join(text.split())
    assert ("consolidation" in text) == (columns == 120)


def test_many_environments_end_in_one_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    for days in range(3, 6):
        for name, first in (("zeta", 1.0), ("frozen", 0.0)):
            run = write_run(tmp_path / f"{days}/{name}", name, first=first, decay=1)
            meta = json.loads((run / "run.json").read_text())
            meta["spec"]["env_settings"] = {"days": days, "words": "ab" * days}
            (run / "run.json").write_text(json.dumps(meta))
    text = printed(capsys, "score", tmp_path)
    assert text.count("All metrics:") == 1
    _, _, table = text.partition("Average accuracy\n")
    assert max(map(len, table.splitlines())) <= 70
    assert [line.split()[-2:] for line in table.splitlines() if "Toy-v0" in line] == [
        ["0.75", "0.00"]
    ] * 3
    assert "Average accuracy\n" not in printed(capsys, "score", tmp_path / "3", tmp_path / "4")


@pytest.mark.parametrize("command", [["score"], ["score", "--verbose"], ["list", "sleep"]])
def test_an_ascii_terminal_gets_ascii(command, runs):
    where = [str(runs)] if command[0] == "score" else []
    done = subprocess.run(
        [sys.executable, "-m", "sleepgym", *command, *where],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")


def test_what_no_encoding_holds_is_replaced(monkeypatch):
    from sleepgym.cli.console import accept_any_text

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    accept_any_text()
    print("0.5 ± 0.1 \ud800 …", flush=True)
    assert raw.getvalue() == b"0.5 +- 0.1 ? ...\n"


def test_compare_pairs_the_seeds_that_both_ran(runs, capsys):
    found = json.loads(printed(capsys, "compare", runs / "zeta", runs / "middle", "--json"))
    assert found["seeds"] == [1, 2]
    row = found["metrics"]["learning_accuracy"]
    assert row["a"] - row["b"] == pytest.approx(row["difference"]["mean"])
    assert row["a"] == pytest.approx((0.7 + 0.4) / 2 * 0.75)  # two-hop questions score half
    assert row["difference"]["n"] == 2
    text = printed(capsys, "compare", runs / "zeta", runs / "middle")
    assert "A = zeta\nB = middle\n2 shared seeds: 1-2" in text
    assert "average accuracy" in text


def test_compare_equals_the_mean_of_differences(tmp_path, capsys):
    rng = derive_rng(0, "compare")
    values = {name: rng.uniform(0.1, 0.9, 5) for name in ("a", "b")}
    for name, firsts in values.items():
        for seed, first in enumerate(firsts):
            write_run(tmp_path / name / str(seed), name, seed, first=first, decay=1)
    found = json.loads(printed(capsys, "compare", tmp_path / "a", tmp_path / "b", "--json"))
    difference = found["metrics"]["average_accuracy"]["difference"]
    assert difference["mean"] == pytest.approx((values["a"] - values["b"]).mean() * 0.75)
    assert difference["interval"]["method"] == "bootstrap"
    assert difference["interval"]["low"] < difference["mean"] < difference["interval"]["high"]


def test_compare_takes_agents_of_a_suite(runs, tmp_path, capsys):
    found = json.loads(printed(capsys, "compare", "zeta", "middle", "--runs", runs, "--json"))
    apart = json.loads(printed(capsys, "compare", runs / "zeta", runs / "middle", "--json"))
    [pair] = found
    assert pair.pop("environment") == "sleepgym/Toy-v0 (days=3)"
    pair["metrics"].pop("gain")  # only where frozen is at hand
    apart["metrics"].pop("gain", None)
    assert pair == apart
    text = printed(capsys, "compare", "zeta", "middle", "--runs", runs)
    assert "A = zeta\nB = middle\n2 shared seeds: 1-2" in text
    assert run_command(["compare", "zeta", "midle", "--runs", str(runs)]) == 2
    assert "did you mean middle" in capsys.readouterr().err
    write_run(tmp_path / "here", "here", seed=0)
    write_run(tmp_path / "there", "there", seed=50)
    assert run_command(["compare", "here", "there", "--runs", str(tmp_path)]) == 2
    assert "share no stream" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sides", "says"),
    [
        (("zeta/0", "middle/7"), "share no stream"),
        (("", "zeta"), "holds 3 configurations"),
        (("zeta", "nowhere"), "is not a folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line(sides, says, runs, capsys):
    assert run_command(["compare", *(str(runs / side) for side in sides)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1

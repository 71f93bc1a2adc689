"""The report: complete, self-contained, harmless, and equal to the scores."""

from __future__ import annotations

import csv
import json
import re

import pytest

from pages import Page
from sleepgym.cli import run_command
from sleepgym.core.errors import BadRun
from sleepgym.reports.report import HEADLINE, number, write_report
from sleepgym.runs.records import read_run
from sleepgym.scoring.scores import score_run
from synthetic import write_run

HOSTILE = '<script>alert("x")</script>{{ 7*7 }}'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        write_run(folder / f"naive-{seed}", seed=seed, first=0.6 + 0.2 * seed)
        write_run(folder / f"frozen-{seed}", "frozen", seed=seed, first=0.2, decay=1)
    write_run(folder / "hostile", "bad", label=HOSTILE, answer=HOSTILE, settings={"x": HOSTILE})
    write_run(folder / "half", "halfway", phases_left=3)
    (write_run(folder / "torn", "torn") / "run.json").write_text("{")
    page = write_report([folder], folder / "report")
    return folder, page, Page(page.read_text())


def test_nothing_is_fetched(made):
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", made[1].read_text())
    assert "http" not in text.replace("http-equiv", "")
    assert not re.search(r"(src|srcset|href)=\"(?!data:|#)", text)
    assert "url(" not in text


def test_hostile_names_are_text(made):
    _, _, page = made
    assert "script" not in [tag for tag, _ in page.tags]
    assert HOSTILE in [row[0] for row in page.rows]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_numbers_are_those_of_the_scores(made):
    folder, _, page = made
    frozen = read_run(folder / "frozen-0")
    scores = score_run(read_run(folder / "hostile"), frozen)
    [row, *_] = [row for row in page.rows if row[0] == HOSTILE]
    assert row[1:] == ["1", *(number(scores[name]) for name in HEADLINE)]


def test_intervals_and_paired_differences(made):
    _, _, page = made
    text = " ".join(page.words)
    rows = [row for row in page.rows if row[0] == "naive"]
    assert rows[0][1] == "2"
    assert rows[1][1].startswith("+")  # average accuracy over frozen's on the same two streams
    assert "n = 2" in text
    assert "n = 1" in text


def test_any_agent_can_be_the_reference(made, tmp_path):
    assert (
        run_command(["report", str(made[0]), "--out", str(tmp_path), "--reference", "naive"]) == 0
    )
    page = Page((tmp_path / "report.html").read_text())
    assert "Difference to naive on the same streams" in " ".join(page.words)
    rows = [row for row in page.rows if row[0] == "frozen"]
    assert rows[1][1].startswith("-")


def test_the_best_agent_stands_first(made):
    names = [row[0] for row in made[2].rows if row and row[0] in ("naive", "frozen", HOSTILE)]
    assert names[:3] == [HOSTILE, "naive", "frozen"]


def test_an_unknown_reference_is_refused_before_anything_is_written(made, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_command(["report", str(made[0]), "--out", str(out), "--reference", "naiv"]) == 2
    error = capsys.readouterr().err
    assert "did you mean naive" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_every_picture_has_a_dark_twin(made):
    page = made[2]
    light = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    dark = [attrs for tag, attrs in page.tags if tag == "source"]
    assert len(dark) == len(light)
    assert {attrs["media"] for attrs in dark} == {"(prefers-color-scheme: dark)"}
    assert not {attrs["srcset"] for attrs in dark} & set(light)


def test_intervals_stay_within_the_range_of_their_metric(made):
    assert "[0.000, 1.000]" in made[2].words  # of two streams Student's t reaches beyond both ends


def test_accessible(made):
    page = made[2]
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 6
    assert all(len(image["alt"]) > 40 for image in images)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption")


def test_failures_are_counted_and_shown(tmp_path, monkeypatch):
    from sleepgym.reports import report
    from sleepgym.runs.runner import run
    from sleepgym.runs.spec import RunSpec

    for agent in ("Fleeting", "Notes"):
        run(RunSpec("toy:Toy", f"toy:{agent}", {"days": 2}), tmp_path / "runs" / agent)
    monkeypatch.setattr(report, "_drawn", lambda *_: [])
    page = Page(write_report([tmp_path / "runs"], tmp_path / "out").read_text())
    assert ["toy:Fleeting", "0", "4", "0", "0", "1"] in page.rows
    assert ["toy:Notes", "0", "0", "0", "0", "5"] in page.rows
    text = " ".join(" ".join(page.words).split())
    told = r"Where is Person10\? direct, day 1, lost overnight; right: (Town\d+) evening: \1 ✓ "
    assert re.search(told + "mornings 1.2: unknown ✗", text)
    assert "toy:Notes: some" not in text


def test_what_is_left_out_is_listed(made):
    text = " ".join(made[2].words)
    assert "not finished, 10 of 13 phases" in text
    assert "cannot be read" in text
    assert "halfway" not in {row[0] for row in made[2].rows}


def test_tables_beside_the_page(made):
    folder, page, _ = made
    groups = json.loads((page.parent / "scores.json").read_text())
    naive = next(group for group in groups if group["agent"] == "naive")
    assert naive["mean"]["learning_accuracy"] == pytest.approx(0.525)
    rows = list(csv.DictReader((page.parent / "scores.csv").read_text().splitlines()))
    assert len(rows) == 5
    by_run = {row["run"]: row for row in rows}
    assert float(by_run[str(folder / "naive-0")]["learning_accuracy"]) == pytest.approx(0.45)
    assert len(list(page.parent.glob("*.png"))) == 6


def test_a_report_of_unfinished_runs_says_so(tmp_path):
    write_run(tmp_path / "half", phases_left=3)
    assert "No run has finished" in write_report([tmp_path], tmp_path / "out").read_text()


def test_no_readable_run(tmp_path):
    (write_run(tmp_path / "torn") / "run.json").write_text("{")
    with pytest.raises(BadRun, match="cannot be read"):
        write_report([tmp_path], tmp_path / "out")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0.000"),
        (-0.25, "-0.250"),
        (64.0, "64"),
        (1.5, "1.500"),
        (123456.0, "123,456"),
        (17_300_000, "17.3M"),
        (-6e12, "-6T"),
        (3e19, "3e+04P"),
        (0.0001, "0.0001"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown

"""What runs, streams, pairs and comparisons show of themselves in a notebook."""

from __future__ import annotations

import pytest

from sleepgym import AnswerKey, Day, Document, Item, Question, Stream
from sleepgym.runs.records import read_run
from sleepgym.scoring.comparisons import compare
from sleepgym.scoring.pairs import compare_pair
from synthetic import write_run

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        write_run(folder / "a" / str(seed), "a", seed, first=0.2, label=HOSTILE)
        write_run(folder / "b" / str(seed), "b", seed, first=0.8)
    return folder


def test_a_run_shows_its_exams(folder):
    html = read_run(folder / "a" / "0")._repr_html_()
    assert "seed 0 (13 of 13 phases)" in html
    assert html.count("<tr>") == 1 + 7  # birth, three evenings, three mornings
    assert "<script>" not in html


def test_a_comparison_shows_the_best_first(folder):
    records = [read_run(folder / agent / str(seed)) for agent in "ab" for seed in range(2)]
    [comparison] = compare(records)
    html = comparison._repr_html_()
    assert html.index(">b<") < html.index("&lt;script&gt;")
    assert "days=3" in html
    assert ">0-1<" in html


def test_a_pair_shows_differences_within_their_range(folder):
    html = compare_pair(folder / "a", folder / "b")._repr_html_()
    assert "B = b, seeds 0-1" in html
    assert ">-0.450<" in html  # learning accuracy: .75 of .2 against .75 of .8
    assert "<script>" not in html


def test_a_stream_shows_no_answer():
    item = Item("q", Question(f"Where is {HOSTILE}?"), "direct", 1)
    day = Day(1, (Document("Ada is in Rome."),), exam=(item,))
    html = Stream("toy", {}, 7, (day,), key=AnswerKey({"q": ("secret",)}))._repr_html_()
    assert "Stream of toy, seed 7" in html
    assert "Ada is in Rome." in html
    assert "&lt;script&gt;" in html
    assert "secret" not in html

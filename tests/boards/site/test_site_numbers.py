"""What the site computes itself: resamples, ranks, scales, formats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepgym.core.errors import SleepGymError
from sleepgym.scoring.statistics import RESAMPLES, bootstrap_interval, paired_difference
from sleepgym_boards.board import load_board
from sleepgym_boards.site import formatting
from sleepgym_boards.site.drawing.heat import heat_picture, level
from sleepgym_boards.site.drawing.pictures import _edge
from sleepgym_boards.site.drawing.scales import linear, logarithmic
from sleepgym_boards.site.ranking import rank_intervals
from sleepgym_boards.site.resampling import resamples, surely_higher, table
from synthetic_verdicts import make_verdict

BOARD = load_board("almanac-8-v1")
SUFFIXES = "kMGTPE"


def read(text):
    """A shown amount as a number again."""
    power = SUFFIXES.find(text[-1]) + 1
    return float(text[:-1] if power else text) * 1000**power


@pytest.mark.parametrize("n", [5, 7])
def test_resamples_give_the_interval_of_the_library(n):
    draws, counts = resamples(n)
    assert counts.sum() == RESAMPLES
    assert (draws.sum(axis=1) == n).all()
    values = np.random.default_rng(n).normal(size=n)
    means = np.repeat(draws @ values / n, counts)
    expected = bootstrap_interval(values)
    assert np.percentile(means, [2.5, 97.5]) == pytest.approx([expected.low, expected.high])


def test_the_script_gets_the_same_resamples():
    rows = table(5)
    draws, counts = resamples(5)
    assert [[int(digit) for digit in digits] for digits, _ in rows] == draws.tolist()
    assert [count for _, count in rows] == counts.tolist()
    assert table(4) == []


@pytest.mark.parametrize("seed", range(3))
def test_one_method_is_surely_higher_where_the_paired_interval_is_above_0(seed):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.4, 0.6, (12, 1)) + rng.normal(0, 0.05, (12, 5))
    values[1] = values[0]
    higher = surely_higher(values)
    assert higher.any()
    assert not higher.diagonal().any()
    for a in range(12):
        for b in range(12):
            mine, theirs = (dict(enumerate(values[k])) for k in (a, b))
            interval = paired_difference(mine, theirs).interval
            assert higher[a, b] == (interval.low > 1e-12), (a, b)


def results(*levels, classes=(), undefined=()):
    made = []
    for place, shift in enumerate(levels):
        budget = classes[place] if classes else 0
        result = make_verdict(board=BOARD, budget=budget).results
        for seed, wobble in zip(result.seeds, (-0.02, -0.01, 0, 0.01, 0.02), strict=True):
            sign = 1 if place % 2 else -1
            seed.metrics["average_accuracy"] = 0.5 + shift + sign * wobble
        if place in undefined:
            result.seeds[0].metrics["average_accuracy"] = None
        made.append(result)
    return made


def test_methods_that_cannot_be_told_apart_share_a_rank():
    # 0.3 above all; then two that differ by less than their wobble; then one far below
    assert rank_intervals(BOARD, results(0.3, 0.0, 0.001, -0.3)) == [(1, 1), (2, 3), (2, 3), (4, 4)]


def test_ranks_count_within_a_class():
    assert rank_intervals(BOARD, results(0.3, 0.0, -0.3, classes=(0, 1, 0))) == [
        (1, 1),
        (1, 1),
        (2, 2),
    ]


def test_without_a_headline_there_is_no_rank():
    assert rank_intervals(BOARD, results(0.3, 0.0, undefined=[1])) == [(1, 1), None]


def test_where_less_is_better_the_lowest_is_first():
    board = BOARD.model_copy(update={"headline": "forgetting_max"})
    low, high = (make_verdict(board=BOARD, decay=decay).results for decay in (0.99, 0.7))
    assert rank_intervals(board, [high, low]) == [(2, 2), (1, 1)]


def test_methods_of_other_streams_are_not_ranked():
    made = results(0.1, 0.2)
    made[0].seeds[0].seed = 7
    with pytest.raises(SleepGymError, match="different seeds"):
        rank_intervals(BOARD, made)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.004, "0.004"),
        (0.126, "0.13"),
        (12, "12"),
        (99.96, "100"),
        (999.4, "999"),
        (999.6, "1k"),
        (1234, "1.23k"),
        (1_000_000, "1M"),
        (3.44e6, "3.44M"),
        (5e12, "5T"),
        (2e22, "2.00e+22"),
        (-1234, "−1.23k"),
        (None, "–"),
    ],
)
def test_amounts(value, text):
    assert formatting.amount(value) == text


@given(st.floats(0.1, 9e20))
def test_an_amount_keeps_three_digits(value):
    assert read(formatting.amount(value)) == pytest.approx(value, rel=0.051 if value < 1 else 0.006)


def test_shares_have_no_negative_zero():
    assert formatting.share(-0.0001) == "0.000"
    assert formatting.share(-0.5) == "−0.500"
    assert formatting.short(-0.001) == ".00"
    assert formatting.short(0.25) == ".25"
    assert formatting.short(1.0) == "1.00"
    assert formatting.interval("gain", (0.1, 0.25)) == "[0.100, 0.250]"
    assert formatting.rank((2, 5)) == "2–5"
    assert formatting.rank((3, 3)) == "3"
    assert formatting.signed("state_bytes", 1500) == "+1.5k"


def test_scales_put_values_and_ticks_in_their_places():
    scale = linear(0, 1, 100, 0, 0.25)
    assert [scale(0), scale(0.5), scale(1)] == [100, 50, 0]
    assert scale.ticks == ((100, "0.00"), (75, "0.25"), (50, "0.50"), (25, "0.75"), (0, "1.00"))
    scale = logarithmic([20, 5e3], 0, 300)
    assert (scale.low, scale.high) == (10, 10_000)
    assert scale(100) == 100
    assert scale.ticks == ((0, "10"), (100, "100"), (200, "1k"), (300, "10k"))


def test_a_logarithmic_scale_has_a_place_for_nothing():
    scale = logarithmic([0, 10, 1000], 40, 340)
    assert scale(0) == 40
    assert scale(10) == 66
    assert scale(1000) == 340
    assert scale.ticks[0] == (40, "0")
    assert logarithmic([0, 0], 0, 100)(0) == 0


def test_the_frontier_holds_what_no_cheaper_method_reaches():
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.0, 0.7), (4.0, 0.9), (1.0, 0.3)]
    assert _edge(points, True) == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.9)]
    assert _edge(points, False) == [(1.0, 0.3)]


def test_a_heat_picture_draws_each_known_cell_once():
    picture = heat_picture([[0.5, 0.52, None], [None, 0.9, 0.5], [1.0, 1.0, 1.0]])
    assert dict(picture.paths) == {
        5: "M0 0h2v1h-2zM2 1h1v1h-1z",
        9: "M1 1h1v1h-1z",
        10: "M0 2h3v1h-3z",
    }
    assert [level(v) for v in (0, 0.04, 0.06, 1, 1.2)] == [0, 0, 1, 10, 10]

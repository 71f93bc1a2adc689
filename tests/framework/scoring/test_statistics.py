"""Aggregates over streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sleepgym.core.errors import BadRun
from sleepgym.scoring.statistics import bootstrap_interval, interquartile_mean, paired_difference

values = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=8)


def test_interquartile_mean_cuts_a_quarter_at_each_end():
    assert interquartile_mean([0, 0.2, 0.4, 100]) == pytest.approx(0.3)
    assert interquartile_mean([0, 0.5, 1]) == pytest.approx(0.5)


def test_interval_of_one_stream_is_none():
    assert bootstrap_interval([0.5]) is None


def test_few_streams_get_a_student_t_interval():
    interval = bootstrap_interval([0.4, 0.6])
    assert interval.method == "student-t"
    assert interval.n == 2
    assert interval.high - 0.5 == pytest.approx(12.706204736 * 0.1)  # t(0.975, 1) * s / sqrt(2)
    assert 0.5 - interval.low == pytest.approx(interval.high - 0.5)


def test_bootstrap_matches_a_resampling_by_hand():
    sample = np.array([0.1, 0.4, 0.5, 0.7, 0.9, 0.95])
    rng = np.random.default_rng(0)
    means = sample[rng.integers(0, 6, (100_000, 6))].mean(axis=1)
    interval = bootstrap_interval(sample)
    assert interval.method == "bootstrap"
    expected = np.quantile(means, [0.025, 0.975])
    assert [interval.low, interval.high] == pytest.approx(expected, abs=0.02)


@given(values)
def test_interval_is_deterministic_and_holds_the_mean(sample):
    interval = bootstrap_interval(sample)
    assert interval == bootstrap_interval(sample)
    assert interval.low - 1e-9 <= np.mean(sample) <= interval.high + 1e-9


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_equal_values_give_a_point(n):
    interval = bootstrap_interval([0.25] * n)
    assert [interval.low, interval.high] == pytest.approx([0.25, 0.25])


def test_paired_difference_cancels_what_streams_share():
    hard_and_easy = {f"seed {i}": i / 10 for i in range(6)}
    better = {stream: value + 0.05 for stream, value in hard_and_easy.items()}
    difference = paired_difference(better, hard_and_easy)
    assert difference.mean == pytest.approx(0.05)
    assert [difference.interval.low, difference.interval.high] == pytest.approx([0.05, 0.05])
    assert difference.n == 6


def test_paired_difference_of_one_stream_has_no_interval():
    assert paired_difference({"s": 0.5}, {"s": 0.25}).interval is None


def test_unpaired_streams_are_refused_by_name():
    with pytest.raises(BadRun, match="seed 1, seed 2 on one side only"):
        paired_difference({"seed 0": 1.0, "seed 1": 1.0}, {"seed 0": 1.0, "seed 2": 1.0})


@pytest.mark.parametrize("sample", [[], [np.nan], [0.1, np.inf]])
def test_what_is_no_number_is_refused(sample):
    with pytest.raises(BadRun, match="finite"):
        bootstrap_interval(sample)

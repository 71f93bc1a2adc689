"""Every metric against hand-computed matrices, avalanche-lib, and the laws it must obey."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sleepgym.scoring import metrics

GOLDEN = json.loads(Path(__file__).with_name("golden_metrics.json").read_text())
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["cases"]]
OF_MATRIX = (
    metrics.average_accuracy,
    metrics.anytime_accuracy,
    metrics.learning_accuracy,
    metrics.backward_transfer,
    metrics.forward_transfer,
    metrics.forgetting_first_last,
    metrics.forgetting_max,
    metrics.retention,
    metrics.base_retention,
)


def matrix_of(case):
    return np.array(case["matrix"], dtype=float)


def same(found, expected):
    if expected is None:
        return found is None or np.isnan(found)
    return found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("metric", OF_MATRIX, ids=lambda metric: metric.__name__)
def test_golden(case, metric):
    assert same(metric(matrix_of(case)), case["expected"][metric.__name__])


@pytest.mark.parametrize("case", CASES)
def test_golden_curves(case):
    a = matrix_of(case)
    curve = metrics.retention_curve(a)
    assert all(map(same, metrics.accuracy_by_age(a), case["accuracy_by_age"]))
    assert all(map(same, curve, case["retention_curve"]))
    assert same(metrics.half_life(curve), case["expected"]["half_life"])


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_avalanche(case):
    a = matrix_of(case)
    assert same(metrics.forgetting_first_last(a), case["avalanche"]["forgetting"])
    assert same(metrics.backward_transfer(a), case["avalanche"]["bwt"])


def test_average_accuracy_after_a_night():
    a = np.array([[0.9, 0, 0], [0.9, 0.6, 0.3], [0.9, 0.2, 0.8]])
    assert metrics.average_accuracy(a, 1) == pytest.approx(0.6)
    assert metrics.average_accuracy(a, 2) == pytest.approx(0.5)


def test_one_day_defines_no_transfer_and_no_forgetting():
    a = np.array([[np.nan, 0.1], [np.nan, 0.8]])
    assert metrics.average_accuracy(a) == metrics.learning_accuracy(a) == pytest.approx(0.8)
    undefined = (
        metrics.backward_transfer,
        metrics.forward_transfer,
        metrics.forgetting_first_last,
        metrics.forgetting_max,
        metrics.retention,
        metrics.base_retention,
    )
    assert [metric(a) for metric in undefined] == [None] * 6


def test_half_life_steps_over_ages_not_asked():
    assert metrics.half_life([1, 0.8, np.nan, 0.4]) == pytest.approx(1 + 2 * 0.3 / 0.4)
    assert metrics.half_life([1, 0.9, 0.6]) is None
    assert metrics.half_life([]) is None


def test_consolidation():
    assert metrics.consolidation(0.8, 0.2) == pytest.approx(0.25)
    assert metrics.consolidation(0.0, 0.2) is None
    assert metrics.consolidation(None, None) is None


def test_gain():
    assert metrics.gain(0.7, 0.4) == pytest.approx(0.5)
    assert metrics.gain(0.2, 0.4) == pytest.approx(-1 / 3)
    assert metrics.gain(1.0, 1.0) is None
    assert metrics.gain(0.7, None) is None


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"shape \(T \+ 1, T \+ 1\)"):
        metrics.average_accuracy(np.zeros(shape))


entries = st.floats(0, 1, allow_subnormal=False) | st.just(np.nan)
squares = st.integers(2, 7).flatmap(
    lambda size: arrays.arrays(np.float64, (size, size), elements=entries)
)
full_squares = st.integers(3, 7).flatmap(
    lambda size: arrays.arrays(
        np.float64, (size, size), elements=st.floats(0.01, 1, allow_subnormal=False)
    )
)


@given(squares)
def test_nothing_is_mutated_and_everything_is_bounded(a):
    before = a.copy()
    values = {metric.__name__: metric(a) for metric in OF_MATRIX}
    metrics.half_life(metrics.retention_curve(a))
    metrics.accuracy_by_age(a)
    np.testing.assert_array_equal(a, before)
    for name, value in values.items():
        if value is not None:
            low = 0 if "accuracy" in name or "retention" in name else -1
            high = np.inf if "retention" in name else 1
            assert low - 1e-9 <= value <= high + 1e-9


@given(full_squares)
def test_laws_of_forgetting(a):
    forgetting = metrics.forgetting_first_last(a)
    assert metrics.backward_transfer(a) == pytest.approx(-forgetting)
    assert metrics.forgetting_max(a) >= forgetting - 1e-12
    assert metrics.accuracy_by_age(a)[0] == pytest.approx(metrics.learning_accuracy(a))
    assert metrics.retention_curve(a)[0] == pytest.approx(1)


@given(st.integers(3, 7), st.floats(0.01, 1, allow_subnormal=False))
def test_a_constant_matrix_forgets_nothing(size, value):
    a = np.full((size, size), value)
    assert metrics.forgetting_first_last(a) == metrics.forgetting_max(a) == 0
    assert metrics.backward_transfer(a) == metrics.forward_transfer(a) == 0
    assert metrics.retention(a) == metrics.base_retention(a) == 1
    assert metrics.half_life(metrics.retention_curve(a)) is None


def test_forgetting_max_is_negative_where_the_last_morning_is_the_best():
    a = np.array([[0, 0, 0], [0, 0.3, 0], [0, 0.9, 0.5]])
    assert metrics.forgetting_max(a) == pytest.approx(-0.6)


def test_the_margin_of_a_sampled_average_covers_that_of_all_days():
    rng, days, kept, covered = np.random.default_rng(0), 256, 64, 0
    for _ in range(400):
        a = np.full((days + 1, days + 1), np.nan)
        a[-1, 1:] = rng.beta(0.5, 1.0, days)
        sample = a.copy()
        sample[-1, 1:][rng.permutation(days)[kept:]] = np.nan
        error = abs(metrics.average_accuracy(sample) - metrics.average_accuracy(a))
        covered += error <= metrics.average_accuracy_margin(sample)
    assert 0.92 < covered / 400 < 0.975
    assert metrics.average_accuracy_margin(a) == 0.0
    a[-1, 2:] = np.nan
    assert metrics.average_accuracy_margin(a) is None

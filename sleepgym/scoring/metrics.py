"""What a model learned, kept and lost: pure functions of one accuracy matrix.

The matrix ``a`` is a float array of shape ``(T + 1, T + 1)``:

- ``a[k, j]`` is the accuracy in [0, 1] on the questions of day ``j`` in the morning after night
  ``k``; row 0 is the exam at birth, before day 1;
- column 0 is the base knowledge that the model was born with;
- NaN where nothing was asked (spaced exams leave holes; a day not yet taught is asked once, on
  the morning before it).

Days weigh the same, however many questions they have. Entries that were not asked are skipped. A
value that no entry defines is None. No function changes its argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Matrix = NDArray[np.float64]


def average_accuracy(a: Matrix, night: int | None = None) -> float | None:
    """Mean accuracy over all days taught so far, after a night (default: the last), in [0, 1].

    Lopez-Paz and Ranzato, 2017 (ACC), at the last night.

    Args:
        a: Accuracy matrix.
        night: Row, 1 to T.
    """
    k = last_night(a) if night is None else night
    return _mean(a[k, 1 : k + 1])


def average_accuracy_margin(a: Matrix) -> float | None:
    """Half the width of a 95% interval for :func:`average_accuracy` over all days, from a sample.

    Student's t with the correction for a finite population (Cochran, 1977, section 2.6): the days
    that the last morning asked about are a sample without replacement of those taught. 0 where it
    asked about all of them; None for fewer than two.
    """
    last = last_night(a)
    asked = a[last, 1:][~np.isnan(a[last, 1:])]
    if len(asked) < 2:
        return None
    error = asked.std(ddof=1) * np.sqrt((1 - len(asked) / last) / len(asked))
    return float(stats.t.ppf(0.975, len(asked) - 1) * error)


def anytime_accuracy(a: Matrix) -> float | None:
    """Mean over nights of :func:`average_accuracy`, in [0, 1] (Caccia et al., 2022).

    Spaced exams ask recent days more often than old ones: compare it within one kind of exam.
    """
    return _mean(average_accuracy(a, k) for k in range(1, last_night(a) + 1))


def learning_accuracy(a: Matrix) -> float | None:
    """Mean accuracy on each day on its own next morning, ``a[i, i]``, in [0, 1]."""
    return _mean(np.diagonal(a)[1:])


def backward_transfer(a: Matrix) -> float | None:
    """Mean over days i < T of ``a[T, i] - a[i, i]``, in [-1, 1]; negative is forgetting.

    Lopez-Paz and Ranzato, 2017 (BWT).
    """
    last = last_night(a)
    return _mean(a[last, 1:last] - np.diagonal(a)[1:last])


def forward_transfer(a: Matrix) -> float | None:
    """Mean over days i >= 2 of ``a[i - 1, i] - a[0, i]``, in [-1, 1].

    What earlier days did for a day not yet taught, over the model at birth (Lopez-Paz and Ranzato,
    2017, FWT, with the accuracy at birth for their random baseline).
    """
    return _mean(np.diagonal(a, 1)[1:] - a[0, 2:])


def forgetting_first_last(a: Matrix) -> float | None:
    """Mean over days i < T of ``a[i, i] - a[T, i]``, in [-1, 1]; negative where days improved.

    The convention of avalanche-lib (``Forgetting``): the negative of :func:`backward_transfer`.
    """
    transfer = backward_transfer(a)
    return None if transfer is None else 0.0 - transfer


def forgetting_max(a: Matrix) -> float | None:
    """Mean over days i < T of ``max(a[l, i] for i <= l < T) - a[T, i]``, in [-1, 1].

    Chaudhry et al., 2018. The last row is no candidate for the maximum, so that a day which is at
    its best on the last morning counts as negative. Never below :func:`forgetting_first_last` where
    every day was asked on its own morning.
    """
    last = last_night(a)
    best = [_max(a[i:last, i]) for i in range(1, last)]
    return _mean(np.asarray(best, dtype=float) - a[last, 1:last])


def retention(a: Matrix) -> float | None:
    """Mean over days i < T of ``a[T, i] / a[i, i]``, >= 0.

    Days that were not learned at all (``a[i, i] = 0``) have nothing to keep and are left out.
    """
    last = last_night(a)
    return _mean(_ratio(a[last, 1:last], np.diagonal(a)[1:last]))


def accuracy_by_age(a: Matrix) -> Matrix:
    """Accuracy on days that are 0, 1, ..., T - 1 nights older than their own morning.

    Returns:
        Shape ``(T,)``: entry g is the mean over days i of ``a[i + g, i]``; NaN where no day of that
        age was asked.
    """
    taught = a[1:, 1:]
    return _nan_means(np.diagonal(taught, -age) for age in range(len(taught)))


def retention_curve(a: Matrix) -> Matrix:
    """Share of a day's first accuracy that is left by age; entry 0 is 1.

    Returns:
        Shape ``(T,)``: entry g is the mean over days i of ``a[i + g, i] / a[i, i]``; days with
        ``a[i, i] = 0`` are left out; NaN where that leaves none.
    """
    taught = a[1:, 1:]
    first = np.diagonal(taught)
    ages = range(len(taught))
    return _nan_means(_ratio(np.diagonal(taught, -g), first[: len(first) - g]) for g in ages)


def half_life(curve: Iterable[float]) -> float | None:
    """Nights until a retention curve first falls to one half.

    Linear interpolation between neighbouring ages that were asked; no decay law is fitted, and
    nothing is extrapolated: None where the curve never reaches one half within the stream.

    Args:
        curve: Retention at ages 0, 1, ... as :func:`retention_curve` gives it.
    """
    known = [(age, value) for age, value in enumerate(curve) if not np.isnan(value)]
    for (age, value), (later, lower) in pairwise(known):
        if lower <= 0.5 < value:
            return float(age + (later - age) * (value - 0.5) / (value - lower))
    return None


def base_retention(a: Matrix) -> float | None:
    """Base accuracy after the last night over that at birth, ``a[T, 0] / a[0, 0]``, >= 0."""
    return _mean(_ratio(a[-1:, 0], a[:1, 0]))


def consolidation(evening: float | None, morning: float | None) -> float | None:
    """Morning over evening accuracy on the same questions, >= 0; undefined at evening 0.

    1: all that could be used with the context open is still there after the night. Above 1: the
    night added to it.
    """
    return None if not evening or morning is None else morning / evening


def gain(final: float | None, stateless: float | None) -> float | None:
    """``(final - stateless) / (1 - stateless)``, at most 1; undefined at stateless 1.

    The share of what the agent without memory gets wrong that this agent gets right.
    """
    if final is None or stateless is None or stateless == 1:
        return None
    return (final - stateless) / (1 - stateless)


def last_night(a: Matrix) -> int:
    """T, after a check of the shape.

    Raises:
        ValueError: If ``a`` is not square with at least one day.
    """
    if a.ndim != 2 or a.shape[0] != a.shape[1] or len(a) < 2:
        raise ValueError(f"an accuracy matrix has shape (T + 1, T + 1), T >= 1, not {a.shape}")
    return len(a) - 1


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(v) for v in values if v is not None and not np.isnan(v)]
    return float(np.mean(known)) if known else None


def _max(values: Matrix) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else np.nan


def _ratio(part: Matrix, whole: Matrix) -> Matrix:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _nan_means(groups: Iterable[Matrix]) -> Matrix:
    return np.array([_mean(group) for group in groups], dtype=float)  # None becomes NaN

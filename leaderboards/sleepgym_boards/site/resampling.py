"""The resamples behind :func:`sleepgym.scoring.statistics.bootstrap_interval`, for many pairs at
once.

That function draws the same resamples for every sample of n streams. A resample's mean is linear
in the sample, so the draws themselves (how often each stream was drawn) serve all pairs of methods,
here for ranks and in the browser for any two methods, and give the same intervals.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sleepgym.core.rng import derive_rng
from sleepgym.scoring.statistics import CONFIDENCE, FEWEST_FOR_BOOTSTRAP, RESAMPLES

TAIL = (1 - CONFIDENCE) / 2
_ROUNDING = 1e-12  # what floating point leaves of a mean difference of exactly 0


@cache
def resamples(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct resamples of n streams, and how often each is drawn.

    Returns:
        ``draws``, shape (distinct, n): how often each stream is in a resample; and ``counts``,
        shape (distinct,), which sum to :data:`sleepgym.scoring.statistics.RESAMPLES`.
    """
    result = stats.bootstrap(
        (np.eye(n),),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=derive_rng(0, "bootstrap", n),
    )
    draws = np.rint(result.bootstrap_distribution.T * n).astype(np.int64)
    return np.unique(draws, axis=0, return_counts=True)


def table(n: int) -> list[tuple[str, int]]:
    """The resamples of n streams as text for a script: a digit (base 36) a stream, and counts.

    Empty where there are too few streams for a bootstrap.
    """
    if n < FEWEST_FOR_BOOTSTRAP:
        return []
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return [
        ("".join(digits[times] for times in draw), int(count))
        for draw, count in zip(*resamples(n), strict=True)
    ]


def surely_higher(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For every two methods whether the interval of their paired difference lies above 0.

    Args:
        values: Shape (methods, streams), at least five streams.

    Returns:
        Shape (methods, methods): ``[a, b]`` is True where a is higher than b.
    """
    n = values.shape[1]
    draws, counts = resamples(n)
    weights = (draws / n).T
    place = TAIL * (RESAMPLES - 1)
    below = int(place)  # the interval's end lies between the order statistics below and below + 1
    higher = np.zeros((len(values), len(values)), dtype=bool)
    for a, mine in enumerate(values):
        means = (mine - values) @ weights
        not_above = (means <= _ROUNDING) @ counts
        higher[a] = not_above <= below
        for b in np.flatnonzero(not_above == below + 1):
            ordered = np.sort(np.repeat(means[b], counts))
            low = ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
            higher[a, b] = low > _ROUNDING
    return higher

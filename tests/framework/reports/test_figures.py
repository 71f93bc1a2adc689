"""Figures: they draw what they are given, whatever it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from sleepgym.reports import figures

HOSTILE = "$\\frac{<script>\n猫 " + "long " * 20


def matrix(days, first=0.8, base=0.9):
    a = np.full((days + 1, days + 1), np.nan)
    a[:, 0], a[0, 1:] = base, 0.1
    for k in range(1, days + 1):
        a[k, 1 : k + 1] = first
    return a


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    "draw", [figures.heat_maps, figures.retention_by_age, figures.accuracy_over_nights]
)
@pytest.mark.parametrize("days", [1, 3, 14])
def test_figures_of_matrices(draw, days):
    runs = {"naive": [matrix(days), matrix(days, 0.6)], HOSTILE: [matrix(days, 0, np.nan)]}
    png = figures.to_png(draw(runs))
    assert png.startswith(b"\x89PNG")
    assert png == figures.to_png(draw(runs))


def test_cells_hold_numbers_up_to_twelve_days():
    assert ".80" in texts(figures.heat_maps({"a": [matrix(12)]}))
    assert not texts(figures.heat_maps({"a": [matrix(13)]}))


def test_shares_are_drawn_for_agents_that_learned():
    assert figures.learned([matrix(3)])
    assert not figures.learned([matrix(3, 0.15)])
    assert not figures.learned([np.full((3, 3), np.nan)])


def test_evening_and_morning_shows_means():
    figure = figures.evening_and_morning({HOSTILE: [(0.8, 0.2), (0.6, 0.4)], "b": [(0, 0)]})
    assert {"0.70", "0.30"} <= set(texts(figure))
    assert figures.to_png(figure)


@pytest.mark.parametrize("costs", [(0, 0), (0, 12), (3, 1e15)])
def test_cost_frontier(costs):
    points = {"a": [(costs[0], 0.5), (costs[0], 0.7)], HOSTILE: [(costs[1], 0.2)]}
    assert figures.to_png(figures.cost_frontier(points, "seconds a night"))


def test_names_of_many_agents_stand_apart_and_inside():
    points = {f"agent {i}": [(float(i), 0.5)] for i in range(25)}
    figure = figures.cost_frontier(points, "seconds a night")
    figures.to_png(figure)
    (axes,) = figure.axes
    boxes = sorted((Text.get_window_extent(t) for t in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 25
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert boxes[0].y0 >= 0
    assert boxes[-1].y1 <= figure.bbox.height
    colours = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len({pair for pair in colours if pair[1] not in ("None", "_", "")}) == 25


def test_pareto_keeps_what_nothing_beats():
    points = [(3, 0.9), (1, 0.5), (2, 0.4), (1, 0.3), (4, 0.9)]
    assert figures.pareto(points) == [(1, 0.5), (3, 0.9)]

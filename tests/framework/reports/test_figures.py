"""Figures: they draw what they are given, whatever it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from sleepgym.reports import drawing, figures

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


def test_curves_that_meet_are_drawn_apart():
    values = {f"agent {i}": np.array([0.0, 0.2 * i, 1.0, np.nan]) for i in range(5)}
    moved = np.array([*drawing.spread(values).values()])
    assert np.diff(moved[:, 0]).min() > 0.01
    assert np.allclose(moved[:, 1], [0, 0.2, 0.4, 0.6, 0.8])
    assert moved[:, 0].mean() == pytest.approx(0)
    assert np.isnan(moved[:, 3]).all()
    assert values["agent 0"][0] == 0  # what is given stays
    many = drawing.spread({str(i): np.array([0.5]) for i in range(50)})
    assert abs(np.array([*many.values()]) - 0.5).max() <= 0.03 + 1e-9


def test_dark_figures_have_light_ink_on_a_dark_page():
    runs = {f"agent {i}": [matrix(3)] for i in range(7)}
    with drawing.theme(dark=True):
        figure = figures.accuracy_over_nights(runs)
    (axes,) = figure.axes
    page = to_rgb(figure.get_facecolor())
    for line in axes.lines:
        if line.get_marker() not in ("None", "_", ""):
            assert abs(np.subtract(to_rgb(line.get_color()), page)).max() > 0.3
    assert to_rgb(figures.accuracy_over_nights(runs).get_facecolor()) == (1, 1, 1)


def test_intervals_end_where_values_do():
    figure = figures.accuracy_over_nights({"a": [matrix(3, 1.0), matrix(3, 0.9)]})
    figures.to_png(figure)
    (axes,) = figure.axes
    ends = [segment[:, 1] for bars in axes.collections for segment in bars.get_segments()]
    assert ends
    assert max(map(max, ends)) <= 1 + 1e-9


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

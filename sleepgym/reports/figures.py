"""Figures of a comparison: pure functions from numbers to matplotlib figures.

Every argument maps an agent's label to its runs, one entry a stream. Agents differ by colour
(Okabe and Ito's palette), marker and line style, and stand beside their lines by name, so that a
figure reads in greyscale. Bars are 95% intervals over streams (:mod:`sleepgym.scoring.statistics`).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sleepgym.reports import drawing as draw
from sleepgym.reports.drawing import Runs
from sleepgym.scoring import metrics


def heat_maps(matrices: Runs) -> Figure:
    """Accuracy by night (rows) and day (columns), mean over streams, a panel an agent.

    Args:
        matrices: Label -> accuracy matrices of one shape.
    """
    columns = min(3, len(matrices))
    rows = -(-len(matrices) // columns)
    size = min(5.2, 2.4 + 0.32 * max(len(runs[0]) for runs in matrices.values()))
    figure = Figure(figsize=(size * columns + 0.8, size * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for axes, (label, runs) in zip(panels, matrices.items(), strict=False):
        image = draw.heat_map(axes, draw.mean(runs))
        draw.title(axes, f"{draw.clean(label)} (n = {len(runs)})")
    for axes in panels[len(matrices) :]:
        axes.remove()
    assert image is not None
    figure.colorbar(image, ax=[*panels[: len(matrices)]], label="accuracy", shrink=0.8)
    return figure


def retention_by_age(matrices: Runs) -> Figure:
    """Accuracy, and the share of the first accuracy that is left, by nights since learning.

    The share is shown for agents that learned something (:func:`learned`); of the others it would
    be a ratio of noise.
    """
    figure = Figure(figsize=(12, draw.height(len(matrices), 4.2)), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw.curves(left, {k: [metrics.accuracy_by_age(a) for a in m] for k, m in matrices.items()}, 0)
    shares = {k: [metrics.retention_curve(a) for a in m] for k, m in matrices.items() if learned(m)}
    draw.curves(right, shares, 0, list(matrices), most=np.inf)
    left.set(xlabel="nights since the day's own morning", ylabel="accuracy on a day")
    right.set(xlabel="nights since the day's own morning", ylabel="share of first accuracy left")
    right.axhline(0.5, color="grey", linewidth=0.8, zorder=0)
    return figure


def learned(matrices: Sequence[metrics.Matrix]) -> bool:
    """Whether accuracy on a day rose by at least 0.1 overnight, mean over days and streams."""
    rises = np.asarray(matrices)[:, 1:, 1:]
    before = np.asarray(matrices)[:, :-1, 1:]
    rise = np.diagonal(rises - before, axis1=1, axis2=2)
    return bool(np.isfinite(rise).any() and np.nanmean(rise) >= 0.1)


def accuracy_over_nights(matrices: Runs) -> Figure:
    """Average accuracy over the days taught so far, by night."""
    figure = Figure(figsize=(6.8, draw.height(len(matrices), 4.2)), layout="constrained")
    axes = figure.subplots()
    draw.curves(
        axes, {label: [_over_nights(a) for a in runs] for label, runs in matrices.items()}, 1
    )
    axes.set(xlabel="night", ylabel="accuracy over all days taught so far")
    return figure


def evening_and_morning(pairs: Runs) -> Figure:
    """What was known with the context open, and what of it after the night.

    Args:
        pairs: Label -> (evening accuracy, morning accuracy) of each stream.
    """
    figure = Figure(figsize=(7.2, 1.5 + 0.55 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for row, runs in enumerate(pairs.values()):
        evening, morning = (float(np.mean(values)) for values in zip(*runs, strict=True))
        axes.plot([evening, morning], [row] * 2, color=draw.ink(), linewidth=1.2, zorder=1)
        for x, colour, marker in ((evening, "#E69F00", "o"), (morning, "#0072B2", "s")):
            axes.plot(x, row, marker, markersize=9, color=colour, markeredgecolor=draw.ink())
        for column, marker in ((0, "o"), (1, "s")):
            streams = [run[column] for run in runs]
            axes.plot(streams, [row + 0.25] * len(runs), marker, markersize=3, color="#808080")
        to_the_left = morning < evening
        draw.value(axes, morning, row, to_the_left)
        draw.value(axes, evening, row, not to_the_left)
    axes.plot(
        [], [], "o", color="#E69F00", markeredgecolor=draw.ink(), label="evening, context open"
    )
    axes.plot(
        [], [], "s", color="#0072B2", markeredgecolor=draw.ink(), label="morning, closed book"
    )
    axes.set_yticks(range(len(pairs)), [draw.clean(label) for label in pairs], parse_math=False)
    axes.set(xlim=(-0.12, 1.12), ylim=(len(pairs) - 0.5, -0.5))
    axes.set_xlabel("accuracy on the same questions of the day")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    draw.plain(axes)
    return figure


def cost_frontier(points: Runs, cost: str) -> Figure:
    """Average accuracy against the cost of a night, and the line of what nothing beats.

    Args:
        points: Label -> (cost, average accuracy) of each stream.
        cost: Name and unit of the cost.
    """
    figure = Figure(figsize=(6.8, draw.height(len(points), 4.4)), layout="constrained")
    axes = figure.subplots()
    means = {label: np.mean(np.asarray(runs, float), axis=0) for label, runs in points.items()}
    for index, (label, (x, y)) in enumerate(means.items()):
        error = draw.error([run[1] for run in points[label]])
        look: dict[str, Any] = draw.style(index) | {"linestyle": ""}
        axes.errorbar(x, y, error, capsize=3, **look)
    draw_frontier(axes, [tuple(mean) for mean in means.values()])
    positive = [x for x, _ in means.values() if x > 0]
    if positive:
        axes.set_xscale("symlog", linthresh=10 ** np.floor(np.log10(min(positive))))
    axes.set(ylim=(-0.03, 1.03), xlabel=f"{cost} (mean over nights)", ylabel="average accuracy")
    axes.margins(x=0.08)
    draw.names(axes, {label: (x, y) for label, (x, y) in means.items()}, list(means))
    draw.plain(axes)
    return figure


def draw_frontier(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """The line of what nothing beats, on to the dearest point."""
    edge = pareto(points)
    edge.append((max(cost for cost, _ in points), edge[-1][1]))
    axes.step(*zip(*edge, strict=True), where="post", color="grey", linewidth=1, zorder=0)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, accuracy) that no cheaper or equally cheap one reaches, by cost."""
    edge: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not edge or accuracy > edge[-1][1]:
            edge.append((cost, accuracy))
    return edge


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG, the same bytes for the same figure and matplotlib."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a label in a script the font lacks
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def _over_nights(a: metrics.Matrix) -> metrics.Matrix:
    nights = range(1, len(a))
    return np.array([metrics.average_accuracy(a, k) for k in nights], dtype=float)

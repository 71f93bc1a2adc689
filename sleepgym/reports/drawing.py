"""What the figures are drawn with: themes, styles, curves, cells, labels that do not overlap."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from sleepgym.scoring.metrics import Matrix
from sleepgym.scoring.statistics import bootstrap_interval

Runs = Mapping[str, Sequence[Any]]

INK = "ink"  # the colour of text: black by day, white by night
_DARK = {"ink": "#ececec", "page": "#16171a", "grid": "#b0b0b0"}
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", INK, "#56B4E9", "#E69F00")
_MARKERS = "osD^vPX<>"
_LINES = ("-", "--", "-.", ":")
_CELLS_WITH_NUMBERS = 12
_LABEL_LENGTH = 28
_LEAST_GAP, _MOST_SPREAD = 0.011, 0.06  # of curves at one place, as shares of the axis


def heat_map(axes: Axes, a: Matrix) -> Any:
    """Cells of one accuracy matrix, with numbers where they are few; hatched: not asked."""
    first = 0 if np.isfinite(a[:, 0]).any() else 1
    shown = a[:, first:]
    empty = Rectangle((0, 0), 1, 1, transform=axes.transAxes, fc="none", ec="#999999", hatch="///")
    axes.add_patch(empty).set_zorder(0)  # shows where nothing was asked
    image = axes.imshow(shown, vmin=0, vmax=1, cmap="cividis", aspect="auto", zorder=1)
    rows = len(shown)
    if rows - 1 <= _CELLS_WITH_NUMBERS:
        for (row, column), value in np.ndenumerate(shown):
            if np.isfinite(value):
                ink = "black" if value > 0.55 else "white"
                text = f"{value:.2f}".lstrip("0")
                axes.text(column, row, text, color=ink, ha="center", va="center", fontsize=8)
    step = -(-rows // _CELLS_WITH_NUMBERS)
    days = range(step, rows, step)
    base = [0] if first == 0 else []
    axes.set_xticks([d - first for d in [*base, *days]], [*["base"][: len(base)], *map(str, days)])
    axes.set_yticks([0, *days], ["birth", *map(str, days)])
    axes.set(xlabel="asked about day", ylabel="morning after night")
    return image


def curves(
    axes: Axes, values: Runs, start: int, order: Sequence[str] = (), most: float = 1.0
) -> None:
    """Mean curves with intervals, named at their ends, in the styles of their places in order.

    Args:
        axes: Where to draw.
        values: Label -> a curve a stream.
        start: Of the first value on the x axis.
        order: Labels in the order of their styles; those of ``values`` where empty.
        most: Largest possible value, where intervals end; the smallest is 0.
    """
    ends = {}
    order = order or list(values)
    longest = max((len(runs[0]) for runs in values.values()), default=0)
    apart = spread({label: mean(runs) for label, runs in values.items()})
    for label, runs in values.items():
        index = order.index(label)
        look: dict[str, Any] = style(index) | {"markersize": 6 if longest <= 15 else 3}
        middle = mean(runs)
        known = np.flatnonzero(np.isfinite(middle))
        if not known.size:
            continue
        stack = np.asarray(runs)
        errors = np.hstack([error(stack[np.isfinite(stack[:, k]), k], most) for k in known])
        shift = 0.02 * longest * (index / max(1, len(order) - 1) - 0.5)  # intervals side by side
        x, y = known + start + shift, apart[label][known]
        axes.errorbar(x, y, errors, capsize=2, elinewidth=0.8, **look)
        ends[label] = (float(x[-1]), float(y[-1]))
    low, high = axes.get_ylim()
    axes.set_ylim(min(-0.03, max(low, -0.2)), max(1.03, min(high, 1.3)))
    axes.set_xlim(start - 0.02 * longest - 0.1, start + 1.02 * longest - 0.9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    names(axes, ends, order)
    plain(axes)


def names(axes: Axes, ends: Mapping[str, tuple[float, float]], styles: Sequence[str]) -> None:
    """Write each label in one column at the right, pushed apart, with a line to its point.

    Labels fit where the figure is as high as :func:`height` says.
    """
    low, high = axes.get_ylim()
    gap = min(0.06, 1 / max(1, len(ends) - 1)) * (high - low)
    order = sorted(ends, key=lambda label: ends[label][1])
    heights: list[float] = []
    for label in order:
        heights.append(max(ends[label][1], heights[-1] + gap if heights else low))
    top = high
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], top)
        top = heights[place] - gap
    for label, height in zip(order, heights, strict=True):
        index = styles.index(label)
        axes.annotate(
            clean(label),
            xy=(ends[label][0], min(max(ends[label][1], low), high)),
            xytext=(1.02, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            annotation_clip=False,
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": style(index)["color"],
                "linewidth": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
            },
        )


def spread(curves: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Curves moved up or down where several run through one place, so that none hides another.

    Values stay in their order; nothing moves by more than half of 0.06, or where nothing is near.
    """
    labels = list(curves)
    moved = np.array([curves[label] for label in labels], dtype=float)
    gap = min(_LEAST_GAP, _MOST_SPREAD / max(1, len(labels) - 1))
    for column in moved.T:
        known = np.flatnonzero(np.isfinite(column))
        order = known[np.argsort(column[known], kind="stable")]
        near = np.flatnonzero(np.diff(column[order]) >= gap) + 1
        for group in np.split(order, near):
            steps = np.arange(len(group)) - (len(group) - 1) / 2
            if len(group) > 1:
                column[group] = column[group].mean() + gap * steps
    return dict(zip(labels, moved, strict=True))


@contextmanager
def theme(dark: bool) -> Iterator[None]:
    """Colours of every figure made inside: of a light page or of a dark one."""
    if not dark:
        yield
        return
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    pages = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
    colours: dict[Any, str] = dict.fromkeys(names, _DARK["ink"])
    colours |= dict.fromkeys(pages, _DARK["page"])
    with matplotlib.rc_context({**colours, "grid.color": _DARK["grid"]}):
        yield


def ink() -> str:
    """The colour of text and axes."""
    return str(matplotlib.rcParams["text.color"])


def height(labels: int, least: float) -> float:
    """Height of a figure with so many names beside it, inches."""
    return max(least, 1.0 + 0.19 * labels)


def style(index: int) -> dict[str, Any]:
    """Colour, marker and line of the agent at this place."""
    colour = _COLOURS[index % len(_COLOURS)]
    return {
        "color": ink() if colour == INK else colour,
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[index % len(_LINES)],
        "markersize": 6,
    }


def value(axes: Axes, x: float, y: float, to_the_left: bool) -> None:
    """Write a number beside a point."""
    offset, side = (-8, "right") if to_the_left else (8, "left")
    axes.annotate(
        f"{x:.2f}",
        (x, y),
        (offset, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=8,
    )


def mean(runs: Sequence[Matrix]) -> Matrix:
    """Mean over streams, entry by entry; NaN where no stream has one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(np.asarray(runs), axis=0)


def error(values: Any, most: float = 1.0) -> Matrix:
    """Distances from the mean to the ends of its interval, shape (2, 1); zero for one stream.

    The interval ends at 0 and ``most``: Student's t knows no range, the values have one.
    """
    interval = bootstrap_interval(values) if len(values) else None
    if interval is None:
        return np.zeros((2, 1))
    mean = float(np.mean(values))
    return np.array([[mean - max(0.0, interval.low)], [min(most, interval.high) - mean]]).clip(0)


def clean(label: str) -> str:
    """A label as one short printable line."""
    text = "".join(c if c.isprintable() else " " for c in label)
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"


def title(axes: Axes, text: str) -> None:
    """A heading that is never read as mathematics."""
    axes.set_title(text, fontsize=10, loc="left", parse_math=False)


def plain(axes: Axes) -> None:
    """A light grid and no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)

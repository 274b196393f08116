"""What a lower error costs in time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.pictures import style
from unshaken.pictures.errors import Result, Row, error_scale, some
from unshaken.pictures.labels import Box, nearest, place
from unshaken.pictures.palette import MUTED, PAPER, look


@style.settings()
def costs(rows: Sequence[Row], *, baseline: str = "baseline", judge: str = "test") -> Figure:
    """Mean error ± one standard error against the cost of a training step in units of the
    baseline's. A thin staircase joins the methods that no other beats in both.

    Args:
        rows: as for `errors`, with "cost_ratio".
        baseline: the method whose step costs 1.
        judge: what the errors are of, "test" or "validation".

    Raises:
        ValueError: if no row has both an error and a cost.
    """
    shown = [result for result in some(rows) if result.cost is not None]
    if not shown:
        raise ValueError('rows must hold a number under "cost_ratio", got none')
    width, height = style.WIDTH - 50.0, 290.0
    target = style.figure(style.WIDTH, height + 84)
    style.heading(target, "What a lower error costs")
    plot = style.axes(target, 38, 46, width, height)
    cost = [result.cost or 0.0 for result in shown]
    plot.set_xlim(min(0.8, *cost) if len(cost) > 1 else 0.5, max(*cost, 1.5) * 1.12 + 0.1)
    scale = error_scale(plot.yaxis, [value for r in shown for value in _span(r)])
    style.name_axes(plot, f"step cost ÷ {style.plain(baseline)}", f"{judge} error, %{scale}")
    _staircase(plot, front := _front(shown))
    for result, x in zip(shown, cost, strict=True):
        appearance = look(result.method)
        plot.plot((x, x), _span(result), color=appearance.color, linewidth=1.6, zorder=3)
        plot.scatter(
            [x],
            [result.mean],
            s=48,
            color=appearance.color,
            marker=appearance.marker,
            edgecolors=PAPER,
            linewidths=0.8,
            zorder=4,
            gid="mean",
        )
    _names(plot, shown, front, baseline)
    return target


def _front(shown: Sequence[Result]) -> list[Result]:
    """The results that no other beats in both error and cost, cheapest first."""
    front: list[Result] = []
    for result in sorted(shown, key=lambda result: (result.cost or 0.0, result.mean)):
        if not front or result.mean < front[-1].mean:
            front.append(result)
    return front


def _staircase(plot: Axes, front: Sequence[Result]) -> None:
    plot.step(
        [result.cost or 0.0 for result in front],
        [result.mean for result in front],
        where="post",
        color=MUTED,
        linewidth=0.9,
        linestyle=(0, (2, 2)),
        zorder=1,
    )


def _names(plot: Axes, shown: Sequence[Result], front: Sequence[Result], baseline: str) -> None:
    """Names beside the points, clear of one another, of the bars and of the staircase."""

    def box(*ends: tuple[float, float]) -> Box:
        pixels = plot.transData.transform(ends)
        (left, bottom), (right, top) = pixels.min(0) - 1, pixels.max(0) + 1
        return float(left), float(bottom), float(right), float(top)

    obstacles = [box(*((result.cost or 0.0, y) for y in _span(result))) for result in shown]
    for one, other in itertools.pairwise(front):
        corner = (other.cost or 0.0, one.mean)
        obstacles.append(box((one.cost or 0.0, one.mean), corner))
        obstacles.append(box(corner, (other.cost or 0.0, other.mean)))
    points = [
        (float(x), float(y))
        for x, y in plot.transData.transform([(r.cost or 0.0, r.mean) for r in shown])
    ]
    names = [style.plain(result.method, 20) for result in shown]
    sizes = [(6.3 * len(name) + 4, 13.0) for name in names]
    frame = plot.bbox
    bounds = (frame.x0 + 2, frame.y0 + 2, frame.x1 + 8, frame.y1)
    to_data = plot.transData.inverted().transform
    for i, spot in enumerate(place(points, sizes, obstacles, bounds)):
        if spot.far:
            ends = to_data([points[i], nearest(points[i], spot.box)])
            plot.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=2)
        left, bottom, right, top = spot.box
        x, y = to_data(((left + right) / 2, (bottom + top) / 2))
        style.say(
            plot,
            float(x),
            float(y),
            names[i],
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold" if shown[i].method == baseline else "normal",
            zorder=5,
        )


def _span(result: Result) -> tuple[float, float]:
    return result.mean - (result.sem or 0.0), result.mean + (result.sem or 0.0)

"""What a lower error costs in time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from unshaken.pictures import style
from unshaken.pictures.errors import Result, Row, error_scale, some
from unshaken.pictures.labels import place
from unshaken.pictures.palette import MUTED, PAPER, look


@style.settings()
def costs(rows: Sequence[Row], *, baseline: str = "baseline") -> Figure:
    """Mean error ± one standard error against the cost of a training step in units of the
    baseline's. A thin staircase joins the methods that no other beats in both.

    Args:
        rows: as for `errors`, with "cost_ratio".
        baseline: the method whose step costs 1.

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
    style.name_axes(plot, f"step cost ÷ {style.plain(baseline)}", f"test error, %{scale}")
    front, least = [], math.inf
    for result in sorted(shown, key=lambda result: (result.cost or 0.0, result.mean)):
        if result.mean < least:
            front.append(result)
            least = result.mean
    points, bars = [], []
    if len(front) > 1:
        plot.step(
            [result.cost or 0.0 for result in front],
            [result.mean for result in front],
            where="post",
            color=MUTED,
            linewidth=0.9,
            linestyle=(0, (2, 2)),
            zorder=1,
        )
        for one, next_one in itertools.pairwise(front):
            corner = (next_one.cost or 0.0, one.mean)
            for end in ((one.cost or 0.0, one.mean), (next_one.cost or 0.0, next_one.mean)):
                ends = plot.transData.transform([end, corner])
                (left, bottom), (right, top) = ends.min(0), ends.max(0)
                bars.append((float(left), float(bottom) - 1, float(right) + 1, float(top)))
    for result, x in zip(shown, cost, strict=True):
        appearance = look(result.method)
        low, high = _span(result)
        plot.plot((x, x), (low, high), color=appearance.color, linewidth=1.6, zorder=3)
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
        (px, bottom), (_, py), (_, top) = (
            plot.transData.transform((x, y)) for y in (low, result.mean, high)
        )
        points.append((float(px), float(py)))
        bars.append((float(px) - 2, float(bottom), float(px) + 2, float(top)))
    names = [style.plain(result.method, 20) for result in shown]
    sizes = [(6.3 * len(name) + 4, 13.0) for name in names]
    box = plot.bbox
    bounds = (box.x0 + 2, box.y0 + 2, box.x1 + 8, box.y1)
    inverse = plot.transData.inverted()
    for name, point, spot, result in zip(
        names, points, place(points, sizes, bars, bounds), shown, strict=True
    ):
        middle = ((spot.box[0] + spot.box[2]) / 2, (spot.box[1] + spot.box[3]) / 2)
        if spot.far:
            near = (
                min(max(point[0], spot.box[0]), spot.box[2]),
                min(max(point[1], spot.box[1]), spot.box[3]),
            )
            ends = inverse.transform([point, near])
            plot.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=2)
        x, y = inverse.transform(middle)
        style.say(
            plot,
            float(x),
            float(y),
            name,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold" if result.method == baseline else "normal",
            zorder=5,
        )
    return target


def _span(result: Result) -> tuple[float, float]:
    return result.mean - (result.sem or 0.0), result.mean + (result.sem or 0.0)

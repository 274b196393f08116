"""How a quantity grows with another, one line for each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from unshaken.pictures import style
from unshaken.pictures.palette import look

Points = Sequence[tuple[float, float]]


@style.settings()
def growth(
    lines: Mapping[str, Points], *, title: str, x: str, y: str, height: float = 190.0
) -> Figure:
    """Lines over a logarithmic axis, named at their right ends.

    Args:
        lines: ``(x, y)`` in rising order of x > 0, by name.
        title: of the figure.
        x: what the x axis shows.
        y: what the y axis shows.
        height: of the plot, in pixels.

    Raises:
        ValueError: if there is no point.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("lines must hold at least one point, got none")
    target = style.figure(style.WIDTH, height + 90)
    style.heading(target, title)
    plot = style.axes(target, 38, 48, style.WIDTH - 168, height)
    places = sorted({at for at, _ in points})
    plot.set_xscale("log")
    plot.set_xlim(places[0] / 1.15, places[-1] * 1.15)
    plot.xaxis.set_major_locator(FixedLocator(places))
    plot.xaxis.set_minor_locator(NullLocator())
    plot.set_xticklabels([f"{at:g}" for at in places])
    top = max(value for _, value in points)
    plot.set_ylim(0, top * 1.08)
    style.name_axes(plot, x, y)
    ends = []
    for name, line in lines.items():
        if not line:
            continue
        appearance = look(name)
        plot.plot(
            [at for at, _ in line],
            [value for _, value in line],
            color=appearance.color,
            linestyle=appearance.dashes,
            linewidth=1.8,
            marker=appearance.marker,
            markersize=5,
            label=name,
        )
        ends.append((line[-1][1], name))
    for level, (_, name) in zip(
        _apart([value / (top * 1.08) * height for value, _ in sorted(ends)]),
        sorted(ends),
        strict=True,
    ):
        style.say(
            target,
            style.WIDTH - 122,
            48 + height - level,
            style.plain(name, 18),
            ha="left",
            va="center",
            fontsize=11,
            color=look(name).color,
        )
    return target


def _apart(levels: Sequence[float], gap: float = 14.0) -> list[float]:
    """Rising levels moved up where they are nearer than a line of text."""
    found: list[float] = []
    for level in levels:
        found.append(level if not found else max(level, found[-1] + gap))
    return found

"""Costs as horizontal bars, each with marks for what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.pictures import style
from unshaken.pictures.palette import INK, MUTED, PAPER, look

_ROW = 25.0
_NAMES = 132.0
_VALUES = 44.0


@dataclass(frozen=True)
class Bar:
    """One row.

    Attributes:
        name: a method; it decides the color.
        value: length of the bar.
        low: lower end of the value's range; None for no range.
        high: its upper end.
        textbook: where a usual implementation lies; None where there is none.
        least: what is least possible; None where it is unknown.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    textbook: float | None = None
    least: float | None = None


@style.settings()
def bars(rows: Sequence[Bar], *, title: str, axis: str) -> Figure:
    """Bars from zero with their values; a diamond is the textbook, an upright line the least.

    Args:
        rows: from top to bottom.
        title: of the figure.
        axis: what is measured, in which unit.

    Raises:
        ValueError: if there are no rows.
    """
    if not rows:
        raise ValueError("rows must hold at least one bar, got none")
    height = _ROW * len(rows)
    target = style.figure(style.WIDTH, height + 96)
    style.heading(target, title)
    width = style.WIDTH - _NAMES - _VALUES
    plot = style.axes(target, _NAMES, 58, width, height)
    ends = [max(r.value, r.high or 0.0, r.textbook or 0.0, r.least or 0.0) for r in rows]
    plot.set_xlim(0, max(*ends, 1.0) * 1.04)
    plot.set_ylim(len(rows) - 0.5, -0.5)
    plot.grid(False, axis="y")
    plot.set_yticks([])
    style.name_axes(plot, axis, None)
    plot.axvline(1.0, color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    for k, row in enumerate(rows):
        _draw(plot, k, row)
        middle = 58 + (k + 0.5) * _ROW
        style.say(target, _NAMES - 8, middle, style.plain(row.name, 19), ha="right", va="center")
        style.say(target, style.WIDTH - 2, middle, f"{row.value:.2f}", ha="right", va="center")
    _legend(target, rows)
    return target


def _draw(plot: Axes, k: int, row: Bar) -> None:
    plot.barh(k, row.value, height=0.56, color=look(row.name).color, zorder=2, gid="bar")
    if row.low is not None and row.high is not None:
        for color, thick in ((PAPER, 3.6), (INK, 1.2)):
            plot.plot((row.low, row.high), (k, k), color=color, linewidth=thick, zorder=3)
    if row.least is not None:
        for color, thick in ((PAPER, 4.4), (INK, 2.0)):
            plot.plot(
                (row.least, row.least),
                (k - 0.4, k + 0.4),
                color=color,
                linewidth=thick,
                zorder=4,
                gid="least",
            )
    if row.textbook is not None:
        plot.scatter(
            [row.textbook],
            [k],
            s=46,
            marker="D",
            color=PAPER,
            edgecolors=INK,
            linewidths=1.4,
            zorder=5,
            gid="textbook",
        )


def _legend(target: Figure, rows: Sequence[Bar]) -> None:
    parts = ["bar: this library"]
    if any(row.low is not None for row in rows):
        parts[0] += ", with quartiles"
    if any(row.textbook is not None for row in rows):
        parts.append("◇ textbook")
    if any(row.least is not None for row in rows):
        parts.append("❙ least possible")
    style.say(
        target,
        0,
        30,
        "  ·  ".join(parts),
        ha="left",
        va="top",
        fontsize=style.SMALL + 0.5,
        color=MUTED,
    )

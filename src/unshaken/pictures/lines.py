"""A few named lines over a linear axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from unshaken.pictures import style
from unshaken.pictures.labels import spread
from unshaken.pictures.palette import COLORS, DASHED, SOLID

_KEYS = ("finite", "vat", "vmt", "at", "mask", "other-2", "other-1", "other-3")
_NAMES = 118.0


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: stands at its right end.
        x, y: its points.
        color: which of the house's colors, counted from 0.
        dashed: whether it is a control.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    dashed: bool = False


@style.settings()
def lines(
    drawn: Sequence[Line],
    *,
    title: str,
    x: str,
    y: str,
    marks: Sequence[str] = (),
    height: float = 190.0,
) -> Figure:
    """Lines from zero up, named at their right ends.

    Args:
        drawn: the lines.
        title: of the figure.
        x, y: what the axes show.
        marks: names for the places 0, 1, ... of the x axis, where they are no numbers.
        height: of the plot, in pixels.

    Raises:
        ValueError: if there is no point.
    """
    shown = [line for line in drawn if len(line.x)]
    if not shown:
        raise ValueError("drawn must hold at least one point, got none")
    target = style.figure(style.WIDTH, height + (150 if marks else 90))
    style.heading(target, title)
    plot = style.axes(target, 38, 48, style.WIDTH - 42 - _NAMES, height)
    for line in shown:
        plot.plot(
            line.x,
            line.y,
            color=COLORS[_KEYS[line.color % len(_KEYS)]][0],
            linestyle=DASHED if line.dashed else SOLID,
            linewidth=1.4 if line.dashed else 2.1,
            marker="o" if len(line.x) == 1 else None,
        )
    plot.margins(x=0)
    top = max(max(line.y) for line in shown)
    plot.set_ylim(0, (top or 1.0) * 1.05)
    style.name_axes(plot, x, y)
    if marks:
        stride = max(1, -(-len(marks) // 16))
        places = range(0, len(marks), stride)
        plot.set_xticks(list(places), [style.plain(marks[k], 22) for k in places], rotation=90)
        plot.tick_params(axis="x", labelsize=style.SMALL - 1)
    reach = (top or 1.0) * 1.05
    wanted = [48 + height * (1 - line.y[-1] / reach) for line in shown]
    places_ = spread(wanted, 13.0, 48.0, 48.0 + height)
    for line, at in zip(shown, places_, strict=True):
        style.say(
            target,
            style.WIDTH - _NAMES + 4,
            at,
            line.name,
            va="center",
            fontsize=style.SMALL,
            color=COLORS[_KEYS[line.color % len(_KEYS)]][0],
            limit=22,
        )
    return target

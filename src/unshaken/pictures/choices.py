"""What was found at each value of the settings that a search tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.errors import error_scale
from unshaken.pictures.palette import INK, MUTED, PAPER, look

_COLORS = colormaps["cividis"].resampled(256)


@dataclass(frozen=True)
class Tried:
    """One point of a search.

    Attributes:
        at: the value of each setting, by name.
        error: in per cent.
        sem: its standard error; None where there is none.
        pruned: whether it was given up early, so that its error is a first impression.
    """

    at: dict[str, float]
    error: float
    sem: float | None = None
    pruned: bool = False


@style.settings()
def choice(points: Sequence[Tried], name: str, *, log: bool, method: str = "") -> Figure:
    """Error ± one standard error against one setting, each point once, the best one marked.

    Points that share the value differ in the other settings. Pruned ones are crosses.

    Args:
        points: what was tried.
        name: the setting on the horizontal axis.
        log: whether that axis is logarithmic.
        method: whose color the points have.

    Raises:
        ValueError: if there are no points.
    """
    _require(points)
    color = look(method).color
    width, height = style.WIDTH - 46.0, 200.0
    target = style.figure(style.WIDTH, height + 84)
    style.heading(target, f"Error over {style.plain(name)}")
    plot = style.axes(target, 38, 46, width, height)
    _scale(plot, "x", [p.at[name] for p in points], log)
    kept = [p for p in points if not p.pruned]
    for point in kept:
        if point.sem:
            ends = (point.error - point.sem, point.error + point.sem)
            plot.plot((point.at[name],) * 2, ends, color=color, linewidth=1.2, alpha=0.55, zorder=2)
    plot.scatter(
        [p.at[name] for p in kept],
        [p.error for p in kept],
        s=34,
        color=color,
        edgecolors=PAPER,
        linewidths=0.8,
        zorder=3,
        gid="tried",
    )
    crossed = [p for p in points if p.pruned]
    plot.scatter(
        [p.at[name] for p in crossed],
        [p.error for p in crossed],
        s=26,
        color=MUTED,
        marker="x",
        linewidths=1.2,
        zorder=2,
        gid="pruned",
    )
    values = [v for p in kept or points for v in (p.error - (p.sem or 0), p.error + (p.sem or 0))]
    scale = error_scale(plot.yaxis, [*values, *(p.error for p in points)])
    style.name_axes(plot, f"{name} (log scale)" if log else name, f"validation error, %{scale}")
    if kept:
        best = min(kept, key=lambda p: p.error)
        _mark(plot, best.at[name], best.error, 130)
    return target


def _mark(plot: Axes, x: float, y: float, area: float) -> None:
    """A ring around the best point."""
    plot.scatter(
        [x],
        [y],
        s=area,
        facecolors="none",
        edgecolors=INK,
        linewidths=1.5,
        zorder=4,
        gid="best",
    )


@style.settings()
def surface(points: Sequence[Tried], names: tuple[str, str], *, log: tuple[bool, bool]) -> Figure:
    """The error over two settings: a heat map where the points are a grid, else colored points.

    Args:
        points: what was tried; those given up early are left out of a grid and small elsewhere.
        names: the settings on the horizontal and the vertical axis.
        log: whether each axis is logarithmic.

    Raises:
        ValueError: if there are no points.
    """
    _require(points)
    across, up = names
    kept = [p for p in points if not p.pruned] or list(points)
    best = min(kept, key=lambda p: p.error)
    errors = [p.error for p in kept]
    norm = Normalize(min(errors), max(errors) if max(errors) > min(errors) else min(errors) + 1)
    width, height = style.WIDTH - 52.0, 300.0
    target = style.figure(style.WIDTH, height + 138)
    style.heading(target, f"Error over {style.plain(across)} and {style.plain(up)}")
    plot = style.axes(target, 44, 46, width, height)
    xs, ys = (sorted({p.at[name] for p in kept}) for name in names)
    if len(xs) * len(ys) == len(kept) > 3 and len(xs) <= 12 and len(ys) <= 12:
        _cells(plot, kept, names, (xs, ys), norm)
    else:
        for axis, name, logarithmic in zip("xy", names, log, strict=True):
            _scale(plot, axis, [p.at[name] for p in points], logarithmic)
        for p in sorted(kept, key=lambda p: -p.error):
            shade = _COLORS(1 - norm(p.error))
            plot.scatter(
                [p.at[across]], [p.at[up]], s=110, color=shade, edgecolors=PAPER, linewidths=0.8
            )
        _mark(plot, best.at[across], best.at[up], 210)
    words = [
        f"{name} (log scale)" if logarithmic else name
        for name, logarithmic in zip(names, log, strict=True)
    ]
    style.name_axes(plot, words[0], words[1])
    style.say(
        target,
        0,
        height + 100,
        f"best: {across} {best.at[across]:g}, {up} {best.at[up]:g}, {best.error:.2f} %",
        fontsize=11,
    )
    _key(target, norm, height + 118)
    return target


def _cells(
    plot: Axes,
    points: Sequence[Tried],
    names: tuple[str, str],
    axes: tuple[list[float], list[float]],
    norm: Normalize,
) -> None:
    """One cell for each point of a grid, with its error; the best one framed."""
    xs, ys = axes
    plot.grid(False)
    best = min(points, key=lambda p: p.error)
    for p in points:
        column, row = xs.index(p.at[names[0]]), ys.index(p.at[names[1]])
        shade = 1 - float(norm(p.error))
        box: Any = {"facecolor": _COLORS(shade), "edgecolor": PAPER, "linewidth": 1.0}
        plot.add_patch(_rectangle(column, row, **box))
        plot.text(
            column,
            row,
            f"{p.error:.1f}",
            ha="center",
            va="center_baseline",
            fontsize=9.5 if len(xs) <= 8 else 8,
            # The cells look the same on a light and a dark page, and so do their numbers.
            color="#ffffff" if shade < 0.55 else "#000000",
            zorder=3,
        )
    frame: Any = {"facecolor": "none", "edgecolor": INK, "linewidth": 2.2, "zorder": 4}
    plot.add_patch(_rectangle(xs.index(best.at[names[0]]), ys.index(best.at[names[1]]), **frame))
    plot.set_xlim(-0.5, len(xs) - 0.5)
    plot.set_ylim(-0.5, len(ys) - 0.5)
    plot.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    plot.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    for spine in plot.spines.values():
        spine.set_visible(False)


def _rectangle(column: int, row: int, **options: Any) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, **options)


def _key(target: Figure, norm: Normalize, top: float) -> None:
    """Which color is which error."""
    bar = style.axes(target, 62, top, 200, 10)
    style.bare(bar)
    ramp: NDArray[np.float64] = np.linspace(1, 0, 128)[None]
    bar.imshow(ramp, cmap=_COLORS, aspect="auto", vmin=0, vmax=1)
    low, high = norm.vmin or 0.0, norm.vmax or 0.0
    middle = top + 5
    style.say(target, 56, middle, f"{low:.2f} %", ha="right", va="center", fontsize=style.SMALL)
    style.say(target, 268, middle, f"{high:.2f} %", ha="left", va="center", fontsize=style.SMALL)


def _scale(plot: Axes, which: str, values: Sequence[float], log: bool) -> None:
    low, high = min(values), max(values)
    axis = plot.xaxis if which == "x" else plot.yaxis
    limits = plot.set_xlim if which == "x" else plot.set_ylim
    if log and low > 0:
        (plot.set_xscale if which == "x" else plot.set_yscale)("log")
        margin = (high / low) ** 0.04 if high > low else 1.5
        limits(low / margin, high * margin)
        subs = (1.0, 2.0, 5.0) if high / low < 60 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        plot.tick_params(which="minor", length=0)
        return
    margin = 0.04 * (high - low) or 0.5
    limits(low - margin, high + margin)


def _require(points: Sequence[Tried]) -> None:
    if not points:
        raise ValueError("points must hold at least one that was tried, got none")

"""The error of each method, with every seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from unshaken.pictures import style
from unshaken.pictures.curves import number
from unshaken.pictures.palette import INK, MUTED, PAPER, look

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One method's errors in per cent; `sem` is None with fewer than two seeds."""

    method: str
    errors: tuple[float, ...]
    mean: float
    sem: float | None
    cost: float | None


def results(rows: Sequence[Row]) -> list[Result]:
    """The rows that have an error, best first. Mean and standard error are computed where a row
    does not bring them.
    """
    found = []
    for row in rows:
        listed = [number(value) for value in row.get("errors") or ()]
        errors = tuple(value for value in listed if value is not None)
        mean, sem = number(row.get("error_mean")), number(row.get("error_sem"))
        if mean is None and errors:
            mean = float(np.mean(errors))
        if sem is None and len(errors) > 1:
            sem = float(np.std(errors, ddof=1)) / math.sqrt(len(errors))
        if len(errors) == 1:
            sem = None
        if mean is not None:
            method, cost = str(row.get("method", "")), number(row.get("cost_ratio"))
            found.append(Result(method, errors, mean, sem, cost))
    return sorted(found, key=lambda result: result.mean)


@style.settings()
def errors(rows: Sequence[Row], *, baseline: str = "baseline", judge: str = "test") -> Figure:
    """Mean error and ± one standard error per method, each seed as a faint dot, best on top, the
    baseline's mean as a vertical line.

    Args:
        rows: dicts with "method", "errors" (per cent, one per seed), "error_mean", "error_sem".
        baseline: the method that the line marks, if it is there.
        judge: what the errors are of, "test" or "validation".

    Raises:
        ValueError: if no row has an error.
    """
    shown = some(rows)
    step = 20.0
    height = step * len(shown)
    target = style.figure(style.WIDTH, height + 72)
    style.heading(target, f"{judge.capitalize()} error of each method")
    plot = style.axes(target, 132, 30, style.WIDTH - 132 - 12, height)
    plot.grid(False, axis="y")
    plot.spines["left"].set_visible(False)
    plot.set_ylim(len(shown) - 0.5, -0.5)
    plot.set_yticks([])
    for result in shown:
        if result.method == baseline:
            plot.axvline(result.mean, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    for y, result in enumerate(shown):
        appearance = look(result.method)
        if result.errors:
            plot.scatter(
                result.errors,
                [y] * len(result.errors),
                s=16,
                color=appearance.color,
                alpha=0.3,
                linewidths=0,
                zorder=2,
                gid="seeds",
            )
        if result.sem is not None:
            ends = (result.mean - result.sem, result.mean + result.sem)
            plot.plot(ends, (y, y), color=appearance.color, linewidth=3.2, alpha=0.6, zorder=3)
        plot.scatter(
            [result.mean],
            [y],
            s=48,
            color=appearance.color,
            marker=appearance.marker,
            edgecolors=PAPER,
            linewidths=0.8,
            zorder=4,
            gid="mean",
        )
        style.say(
            plot,
            -8 / plot.bbox.width,
            y,
            style.plain(result.method, 20),
            transform=plot.get_yaxis_transform(),
            ha="right",
            va="center_baseline",
            fontsize=11.5,
            fontweight="bold" if result.method == baseline else "normal",
        )
    values = [value for result in shown for value in (*result.errors, result.mean)]
    scale = error_scale(plot.xaxis, values)
    style.name_axes(plot, f"{judge} error, %{scale}", None)
    seeds = max(len(result.errors) for result in shown)
    key = "mean ± s.e.; faint: seeds" if seeds > 1 else "one seed per method"
    style.say(target, 0, height + 63, key, fontsize=style.SMALL, color=MUTED)
    return target


def some(rows: Sequence[Row]) -> list[Result]:
    """The results of the rows, of which there must be one."""
    shown = results(rows)
    if not shown:
        raise ValueError('rows must hold a number under "error_mean" or "errors", got none')
    return shown


def error_scale(axis: XAxis | YAxis, values: Sequence[float]) -> str:
    """Limits and ticks for errors. One method far off would press the others together: then the
    axis is logarithmic, and its name says so.
    """
    low, high = min(values), max(values)
    limits = axis.axes.set_xlim if isinstance(axis, XAxis) else axis.axes.set_ylim
    if low > 0 and high / low > 6:
        (axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale)("log")
        limits(low / 1.12, high * 1.12)
        ticks = [m * 10.0**e for e in range(-4, 4) for m in (1, 2, 3, 5, 7)]
        axis.set_major_locator(FixedLocator([t for t in ticks if low / 1.12 <= t <= high * 1.12]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        return " (log scale)"
    margin = 0.06 * (high - low) or 0.5
    limits(max(low - margin, 0.0 if low >= 0 else low - margin), high + margin)
    return ""

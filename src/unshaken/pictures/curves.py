"""A quantity over training, one line per method."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.labels import spread
from unshaken.pictures.palette import INK, MUTED, look

History = Sequence[Mapping[str, Any]]
Histories = Mapping[str, Sequence[History]]

_CONTROLS = ("baseline", "random", "random-tuned", "random-movement", "dropout")
_LABEL_WIDTH = 132.0
_LINE = 13.2  # pixels from one label to the next


@dataclass(frozen=True)
class Series:
    """Mean and standard error over seeds, each of shape (T,), at the times `at`.

    The standard error is zero where fewer than two seeds have the value.
    """

    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    sem: NDArray[np.float64]


def series(runs: Sequence[History], key: str, axis: str) -> Series | None:
    """One method's series over its seeds, or None if no entry has both a finite `key` and `axis`.

    At each time the mean is over the seeds that have the value: a run that ended early shortens
    no other.
    """
    values: dict[float, list[float]] = {}
    for history in runs:
        for entry in history:
            at, value = number(entry.get(axis)), number(entry.get(key))
            if at is not None and value is not None:
                values.setdefault(at, []).append(value)
    if not values:
        return None
    times = sorted(values)
    mean = np.array([np.mean(values[at]) for at in times])
    sem = np.array(
        [
            np.std(v, ddof=1) / math.sqrt(len(v)) if len(v) > 1 else 0.0
            for v in map(values.get, times)
            if v
        ]
    )
    return Series(np.array(times), mean, sem)


def number(value: object) -> float | None:
    """The value as a finite float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return None
    return float(value) if math.isfinite(float(value)) else None


def has(histories: Histories, key: str) -> bool:
    """Whether any entry of any run has a finite number under `key`."""
    return any(
        number(entry.get(key)) is not None
        for runs in histories.values()
        for history in runs
        for entry in history
    )


@style.settings()
def curves(
    histories: Histories,
    key: str,
    *,
    title: str,
    ylabel: str,
    log: bool = False,
    emphasize: Collection[str] | None = None,
) -> Figure:
    """Mean over seeds with a band of ± one standard error, over epochs (or steps, where an entry
    has no epoch). Every method is named at the end of its line.

    Args:
        histories: for each method the histories of its seeds; a history is a list of dicts with
            "epoch" or "step" and `key`. Entries without the key, or where it is not finite, are
            passed over.
        key: what to draw: "test_error", "gap", "r_shift", ...
        title: heading of the figure.
        ylabel: what is drawn and its unit.
        log: logarithmic axis. Means that are not positive cannot be shown on it and are left out.
        emphasize: the methods drawn strongly, with their band. By default the baseline, the
            controls and the three that end lowest.

    Raises:
        ValueError: if no entry has a finite number under `key`.
    """
    if not has(histories, key):
        raise ValueError(f'histories must hold finite numbers under "{key}", got none')
    entries = [entry for runs in histories.values() for run in runs for entry in run]
    axis = "epoch" if all(number(entry.get("epoch")) is not None for entry in entries) else "step"
    found = {method: series(runs, key, axis) for method, runs in histories.items()}
    drawn = {method: line for method, line in found.items() if line is not None}
    if emphasize is None:
        rivals = [method for method in drawn if method not in _CONTROLS]
        best = sorted(rivals, key=lambda method: float(drawn[method].mean[-1]))[:3]
        emphasize = {*_CONTROLS, *best}
    height = max(200.0, _LINE * len(drawn))
    target = style.figure(style.WIDTH, height + 84)
    style.heading(target, title)
    plot = style.axes(target, 38, 46, style.WIDTH - 38 - _LABEL_WIDTH, height)
    if log:
        plot.set_yscale("log")
    style.name_axes(plot, axis, ylabel)
    strong = [method for method in drawn if method in emphasize]
    for method in sorted(drawn, key=lambda method: method in strong):
        _line(plot, method, drawn[method], method in strong, log)
    plot.margins(x=0)
    plot.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _limits(plot, list(drawn.values()), log)
    _names(plot, drawn, strong, height)
    return target


def _line(plot: Axes, method: str, line: Series, strong: bool, log: bool) -> None:
    appearance = look(method)
    shown = np.where(line.mean > 0, line.mean, np.nan) if log else line.mean
    plot.plot(
        line.at,
        shown,
        color=appearance.color,
        linestyle=appearance.dashes,
        linewidth=2.1 if strong else 1.1,
        alpha=1.0 if strong else 0.8,
        label=style.plain(method),
        zorder=4 if strong else 3,
        marker=appearance.marker if len(line.at) == 1 else None,
    )
    if strong and line.sem.any():
        floor = shown * 1e-3 if log else -np.inf
        low = np.maximum(line.mean - line.sem, floor)
        plot.fill_between(
            line.at,
            low,
            line.mean + line.sem,
            color=appearance.color,
            alpha=0.15,
            linewidth=0,
            zorder=2,
        )


_MANY = 5
"""Evaluations from which on the first tenth of training can do without."""


def _limits(plot: Axes, lines: Sequence[Series], log: bool) -> None:
    """Fits the y axis to what happens after the first tenth of training: an untrained network's
    loss would flatten all the rest. What lies above runs off the top edge. Of a few evaluations
    all are shown.
    """
    end = max(float(line.at[-1]) for line in lines)
    start = min(float(line.at[0]) for line in lines)
    few = max(len(line.at) for line in lines) < _MANY
    settled = start if few else start + 0.1 * (end - start)
    low: list[float] = []
    high: list[float] = []
    for line in lines:
        for at, mean, sem in zip(line.at, line.mean, line.sem, strict=True):
            if log and mean <= 0:
                continue
            low.append(mean - sem if mean > sem or not log else mean)
            if at >= settled:
                high.append(mean + sem)
    if not low or not high:
        return
    bottom, top = min(low), max(high)
    if log:
        span = max(top / bottom, 1.2)
        plot.set_ylim(bottom / span**0.05, bottom * span**1.05)
        decades = math.log10(span)
        subs = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
        plot.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        plot.yaxis.set_minor_formatter(NullFormatter())
        plot.tick_params(which="minor", length=0)
    else:
        margin = 0.05 * (top - bottom) or 0.5
        plot.set_ylim(0.0 if 0 <= bottom < 0.3 * top else bottom - margin, top + margin)


def _names(plot: Axes, drawn: Mapping[str, Series], strong: Collection[str], height: float) -> None:
    """Each line's name at the height of its end, pushed apart, with a thin line leading to it."""
    ends = {}
    for method, line in drawn.items():
        usable = line.mean[line.mean > 0] if plot.get_yscale() == "log" else line.mean
        if usable.size:
            point = plot.transData.transform((float(line.at[-1]), float(usable[-1])))
            ends[method] = float(plot.transAxes.inverted().transform(point)[1]) * height
    places = spread([min(max(y, 0.0), height) for y in ends.values()], _LINE, 3.0, height - 3.0)
    for (method, y), to in zip(ends.items(), places, strict=True):
        plot.annotate(
            "",
            xy=(1.0, min(max(y, 0.0), height) / height),
            xytext=(1 + 20 / plot.bbox.width, to / height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            arrowprops={
                "arrowstyle": "-",
                "color": look(method).color,
                "linewidth": 1.4 if method in strong else 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        style.say(
            plot,
            1 + 23 / plot.bbox.width,
            to / height,
            style.plain(method, 19),
            transform=plot.transAxes,
            va="center_baseline",
            fontsize=11,
            color=INK if method in strong else MUTED,
            fontweight="bold" if method in strong else "normal",
        )

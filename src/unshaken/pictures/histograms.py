"""How the weights of layers are distributed, several methods over each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.palette import look

BINS = 61


@style.settings()
def histograms(
    layers: Mapping[str, Mapping[str, NDArray[np.float64]]], *, title: str, x: str = "weight"
) -> Figure:
    """One panel for each layer, one line for each method: the density on a logarithmic scale.

    Args:
        layers: for each layer the values by method.
        title: of the figure.
        x: what the values are.

    Raises:
        ValueError: if there are no layers or no methods.
    """
    methods = list(dict.fromkeys(m for values in layers.values() for m in values))
    if not layers or not methods:
        raise ValueError("layers must hold at least one layer with one method, got none")
    count = len(layers)
    width = (style.WIDTH - 46.0 * count) / count
    target = style.figure(style.WIDTH, 306)
    style.heading(target, title)
    for number, (name, found) in enumerate(layers.items()):
        plot = style.axes(target, 40 + number * (width + 46), 70, width, 168)
        most = max(float(np.abs(values).max()) for values in found.values())
        edges = np.linspace(-most, most, BINS + 1)
        for method, values in found.items():
            density, _ = np.histogram(values, edges, density=True)
            appearance = look(method)
            plot.step(
                edges[:-1],
                np.where(density > 0, density, np.nan),
                where="post",
                color=appearance.color,
                linestyle=appearance.dashes,
                linewidth=1.5,
            )
        plot.set_yscale("log")
        plot.set_xlim(-most, most)
        style.name_axes(plot, x, f"{name}: density, log scale" if not number else name)
    place = 40.0
    for method in methods:
        appearance = look(method)
        style.say(
            target, place, 294, method, ha="left", va="center", fontsize=11, color=appearance.color
        )
        place += 9 * len(method) + 30
    return target

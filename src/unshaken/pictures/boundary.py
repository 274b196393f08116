"""Decision boundaries of two-class problems in the plane, over training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.palette import COLORS, INK, MUTED, PAPER
from unshaken.pictures.panel import Array, array

# Blue circles and orange triangles: apart for every kind of color vision, and by shape.
_CLASSES = ((COLORS["vat"][0], "o"), (COLORS["at"][0], "^"))


@dataclass(frozen=True, eq=False)
class Boundary:
    """One method's predictions on a grid of the plane, at T moments of training.

    Attributes:
        method: the method's name.
        steps: the training step of each moment, T numbers.
        probabilities: the probability of class 1, (T, G, G); row 0 at the smallest y.
        extent: the grid's (x min, x max, y min, y max).
        unlabeled: points (U, 2).
        labeled: points (L, 2).
        classes: the labels 0 or 1 of the labeled points, (L,).
    """

    method: str
    steps: Sequence[int]
    probabilities: Array
    extent: tuple[float, float, float, float]
    unlabeled: Array
    labeled: Array
    classes: Array

    def __post_init__(self) -> None:
        shape = tuple(self.probabilities.shape)
        if len(shape) != 3 or shape[0] != len(self.steps) or 0 in shape:
            raise ValueError(
                f"probabilities must have the shape ({len(self.steps)}, G, G) for as many steps,"
                f" got {shape}"
            )
        if len(self.classes) != len(self.labeled):
            raise ValueError(
                f"classes must hold one label for each of {len(self.labeled)} labeled points,"
                f" got {len(self.classes)}"
            )


@style.settings()
def boundaries(methods: Sequence[Boundary], *, snapshots: int = 4) -> Figure:
    """Rows are methods, columns moments of training, as in figure 4 of the xVAT paper. The line is
    where both classes are equally likely; the tint grows with the certainty. Large marks are the
    labeled points, dots the unlabeled ones.

    Args:
        methods: one `Boundary` per method.
        snapshots: at most this many columns, evenly chosen, the first and the last among them.

    Raises:
        ValueError: if there are none.
    """
    if not methods:
        raise ValueError("methods must hold at least one Boundary, got none")
    across = min(snapshots, max(len(method.steps) for method in methods))
    gap = 6.0
    cell = min((style.WIDTH - gap * (across - 1)) / across, 190.0)
    x0, x1, y0, y1 = methods[0].extent
    tall = cell * min(max((y1 - y0) / (x1 - x0), 0.4), 1.6)
    block = tall + 40
    target = style.figure(style.WIDTH, 26 + len(methods) * block)
    style.heading(target, "Where the classes meet, over training")
    for row, method in enumerate(methods):
        top = 26 + row * block
        style.say(target, 0, top + 14, style.plain(method.method), fontweight="bold")
        count = len(method.steps)
        chosen = sorted({round(i) for i in np.linspace(0, count - 1, min(across, count))})
        for column, moment in enumerate(chosen):
            left = column * (cell + gap)
            plot = style.axes(target, left, top + 32, cell, tall)
            _plane(plot, method, moment)
            words = f"step {method.steps[moment]:,}".replace(",", "\u202f")
            style.say(target, left, top + 28, words, fontsize=style.SMALL, color=MUTED)
    return target


def _plane(plot: Axes, method: Boundary, moment: int) -> None:
    style.bare(plot)
    probability = array(method.probabilities[moment])
    x0, x1, y0, y1 = method.extent
    plot.imshow(
        _tint(probability),
        extent=method.extent,
        origin="lower",
        aspect="auto",
        interpolation="none",
    )
    height, width = probability.shape
    xs = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
    ys = y0 + (np.arange(height) + 0.5) * (y1 - y0) / height
    if probability.min() < 0.5 < probability.max():
        plot.contour(xs, ys, probability, levels=[0.5], colors=[INK], linewidths=1.4)
    unlabeled = array(method.unlabeled).reshape(-1, 2)
    # One line of dots, each a stroke of no length with round ends: a path of 500 points in place
    # of 500 marks.
    apart = np.repeat(unlabeled, 3, axis=0)
    apart[2::3] = np.nan
    (dots,) = plot.plot(
        apart[:, 0], apart[:, 1], color=MUTED, alpha=0.6, linewidth=1.8, gid="unlabeled"
    )
    dots.set_solid_capstyle("round")
    dots.get_path().should_simplify = False
    labeled, classes = array(method.labeled).reshape(-1, 2), array(method.classes)
    for label, (color, marker) in enumerate(_CLASSES):
        x, y = labeled[classes == label].T
        plot.scatter(
            x,
            y,
            s=26,
            color=color,
            marker=marker,
            edgecolors=PAPER,
            linewidths=0.8,
            zorder=4,
            gid=f"class {label}",
        )
    plot.set_xlim(x0, x1)
    plot.set_ylim(y0, y1)


def _tint(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGBA: the likelier class' color, transparent where neither is, so that any page shows
    through.
    """
    colors = np.array([to_rgb(color) for color, _ in _CLASSES])
    tint = np.empty((*probability.shape, 4))
    tint[..., :3] = colors[(probability > 0.5).astype(int)]
    tint[..., 3] = 0.08 + 0.7 * np.abs(probability - 0.5)
    return tint

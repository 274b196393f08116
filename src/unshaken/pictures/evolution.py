"""Masks as they are learned, and samples of signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.palette import INK, look

Values = NDArray[np.float64]
MOMENTS = 5


@style.settings()
def evolution(
    steps: Sequence[int], log_alpha: Values, x: Values, *, title: str, examples: int = 2
) -> Figure:
    """``log α`` and the input under the most likely mask over training (xVAT, figure 5a).

    Args:
        steps: moments.
        log_alpha: ``(T, N, 1, H, W)`` at each moment.
        x: ``(N, C, H, W)`` the inputs.
        title: of the figure.
        examples: how many inputs are shown.

    Raises:
        ValueError: if the arrays do not fit each other.
    """
    if log_alpha.ndim != 5 or x.ndim != 4 or log_alpha.shape[:2] != (len(steps), len(x)):
        raise ValueError(
            f"log_alpha must be (T, N, 1, H, W) for {len(steps)} moments and x {x.shape}, "
            f"got {log_alpha.shape}"
        )
    shown = np.unique(np.linspace(0, len(steps) - 1, min(MOMENTS, len(steps))).round().astype(int))
    examples = min(examples, len(x))
    cell = (style.WIDTH - 8.0 * (MOMENTS + 1)) / (MOMENTS + 1)
    target = style.figure(style.WIDTH, 58 + 2 * examples * (cell + 8) + 22)
    style.heading(target, title)
    low, high = float(log_alpha.min()), float(log_alpha.max())
    for i in range(examples):
        picture = x[i].mean(0)
        span = float(picture.min()), float(picture.max())
        top = 58 + 2 * i * (cell + 8)
        plot = style.axes(target, 0, top, cell, cell)
        style.bare(plot)
        plot.imshow(picture, cmap="gray", vmin=span[0], vmax=span[1])
        for place, k in enumerate(shown):
            left = (place + 1) * (cell + 8)
            if not i:
                style.say(target, left, 50, f"step {steps[k]:,}", va="bottom", fontsize=11)
            plot = style.axes(target, left, top, cell, cell)
            style.bare(plot)
            plot.imshow(log_alpha[k, i, 0], cmap="cividis", vmin=low, vmax=max(high, low + 1e-6))
            plot = style.axes(target, left, top + cell + 8, cell, cell)
            style.bare(plot)
            mask = np.clip(1.2 / (1 + np.exp(-log_alpha[k, i, 0])) - 0.1, 0, 1)
            plot.imshow(picture * mask, cmap="gray", vmin=span[0], vmax=span[1])
    words = f"above: log α from {low:.2f} (dark) to {high:.2f} (bright); below: the input under it"
    style.say(target, 0, 58 + 2 * examples * (cell + 8) + 12, words, va="center", fontsize=11)
    return target


@style.settings()
def samples(signals: Sequence[Values], names: Sequence[str], *, title: str) -> Figure:
    """Signals, one panel each (VMT, figure 2a).

    Args:
        signals: ``(L,)`` each.
        names: of each.
        title: of the figure.

    Raises:
        ValueError: if there is none.
    """
    if not signals or len(signals) != len(names):
        raise ValueError(f"signals must be as many as names, got {len(signals)} and {len(names)}")
    across = 2
    width = (style.WIDTH - 60.0) / across
    target = style.figure(style.WIDTH, 40 + -(-len(signals) // across) * 132)
    style.heading(target, title)
    for number, (values, name) in enumerate(zip(signals, names, strict=True)):
        left, top = 30 + number % across * (width + 30), 52 + number // across * 132
        plot = style.axes(target, left, top, width, 92)
        plot.plot(np.arange(len(values)), values, color=INK, linewidth=1.3)
        plot.set_xlim(0, len(values) - 1)
        style.say(target, left, top - 4, name, va="bottom", fontsize=11, color=look("vat").color)
    return target

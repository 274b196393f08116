"""What the worst perturbations look like on 1-D signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.palette import MUTED, look
from unshaken.pictures.panel import Panel, array


@style.settings()
def signals(panels: Sequence[Panel], *, examples: int = 2) -> Figure:
    """Rows are examples, columns methods. Above, the clean signal in gray and the perturbed one in
    the method's color; beneath, what was done to it, over the same positions: the noise r, the
    mask z, or how far the content moves. As I'(p) = I(p + V(p)) samples FROM p + V, content moves
    by −V: that is the line, in samples, positive to the right.

    Of several channels the first is drawn. A vector (N, D) is drawn over its features.

    Args:
        panels: methods to show side by side.
        examples: at most this many rows.

    Raises:
        ValueError: if there are no panels, or one is not on signals.
    """
    if not panels:
        raise ValueError("panels must hold at least one panel, got none")
    for panel in panels:
        if panel.dimensions != 1:
            raise ValueError(
                f"signals draws 1-D inputs, got {panel.dimensions}-D ones from {panel.method!r};"
                " use worst"
            )
    rows = min(examples, *(len(panel.clean) for panel in panels))
    gap, margin = 16.0, 30.0
    cell = (style.WIDTH - gap * (len(panels) - 1)) / len(panels) - margin
    tall, low = 84.0, 44.0
    block = tall + low + 60
    target = style.figure(style.WIDTH, 72 + rows * block)
    style.heading(target, "Worst perturbations of signals")
    for column, panel in enumerate(panels):
        left = margin + column * (cell + margin + gap)
        style.say(target, left, 34, style.plain(panel.method, int(cell / 7.4)), fontweight="bold")
        note = style.plain(panel.note, int(cell / 5.6))
        style.say(target, left, 48, note, fontsize=style.SMALL, color=MUTED)
        lines = [_done(panel, i) for i in range(rows)]
        bound = 1.1 * max(float(np.abs(line).max()) for line in lines) or 1.0
        for i in range(rows):
            top = 66 + i * block
            above = style.axes(target, left, top, cell, tall)
            below = style.axes(target, left, top + tall + 20, cell, low)
            _pair(above, panel, i)
            color = look(panel.method).color
            below.plot(
                lines[i],
                color=color,
                linewidth=1.3,
                drawstyle="steps-mid" if panel.kind == "mask" else "default",
                gid="done",
            )
            below.set_ylim(*((-0.05, 1.05) if panel.kind == "mask" else (-bound, bound)))
            below.set_xlim(*above.get_xlim())
            last = "position" if i == rows - 1 else None
            style.name_axes(below, last, _WHAT[panel.kind])
            below.title.set_fontsize(style.SMALL)
            for plot in (above, below):
                plot.tick_params(labelsize=9.5)
                plot.locator_params(axis="y", nbins=3)
            style.say(
                above,
                1.0,
                1.03,
                f"value {float(array(panel.value)[i]):.3g}",
                transform=above.transAxes,
                ha="right",
                fontsize=style.SMALL,
                color=MUTED,
            )
    return target


_WHAT = {
    "additive": "noise r",
    "movement": "content moves by −V, samples",
    "mask": "mask z",
}


def _done(panel: Panel, i: int) -> NDArray[np.float64]:
    if panel.kind == "movement":
        moved: NDArray[np.float64] = -panel.field(i)[0]
        return moved
    if panel.kind == "mask":
        return panel.kept(i)
    difference: NDArray[np.float64] = panel.image("perturbed", i)[0] - panel.image("clean", i)[0]
    return difference


def _pair(plot: Axes, panel: Panel, i: int) -> None:
    plot.plot(panel.image("clean", i)[0], color=MUTED, linewidth=2.2, alpha=0.45, gid="clean")
    color = look(panel.method).color
    plot.plot(panel.image("perturbed", i)[0], color=color, linewidth=1.1, gid="perturbed")
    plot.margins(x=0)
    plot.tick_params(labelbottom=False)

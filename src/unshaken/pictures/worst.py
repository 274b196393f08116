"""What the worst perturbations look like on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.arrows import draw_content, round_factor
from unshaken.pictures.palette import MUTED, RULE
from unshaken.pictures.panel import Panel, array

_GAP = 5.0
_TOP = 66.0


@style.settings()
def worst(panels: Sequence[Panel], *, examples: int = 4) -> Figure:
    """Rows are examples; each method has two columns: what it does, and the input it makes of it.

    - additive: the noise r, signed, blue negative and red positive on a scale common to the
      method's examples (of color images: around gray), then x + r;
    - movement: arrows over the clean image along which its content moves, then the moved image.
      I'(p) = I(p + V(p)) samples FROM p + V, so an arrow ends at p and begins at p + s·V(p); the
      factor s stands above the column;
    - mask: z, white kept and black taken away, then x ⊙ z.

    Gray levels (or colors) span the range of the clean images shown; values outside are cut. The
    number at a picture's foot is the method's value for it.

    Args:
        panels: methods to show side by side, all on images (or volumes: their middle slice).
        examples: at most this many rows.

    Raises:
        ValueError: if there are no panels, or one is not on images.
    """
    if not panels:
        raise ValueError("panels must hold at least one panel, got none")
    for panel in panels:
        if panel.dimensions < 2:
            raise ValueError(
                f"worst draws images, got {panel.dimensions}-D inputs from {panel.method!r};"
                " use signals"
            )
    rows = min(examples, *(len(panel.clean) for panel in panels))
    shared = all(_same(panels[0], panel, rows) for panel in panels)
    columns = 2 * len(panels) + (1 if shared else len(panels))
    grid = _Grid.fitting(panels[0], columns)
    limits = _range(panels, rows)
    target = style.figure(style.WIDTH, _TOP + rows * grid.row)
    style.heading(target, _title(panels))
    column = 0
    for number, panel in enumerate(panels):
        if number == 0 or not shared:
            for i in range(rows):
                _show(grid.axes(target, i, column), panel.image("clean", i), limits)
            grid.name(target, column, "clean")
            column += 1
        _method(target, grid, panel, rows, column, limits)
        column += 2
    return target


@dataclass(frozen=True)
class _Grid:
    """Pictures of one size in rows and columns, with a line of text under each row."""

    width: float
    height: float

    @classmethod
    def fitting(cls, panel: Panel, columns: int) -> _Grid:
        """As large as the figure's width allows, in the proportions of the panel's images; a very
        long lattice is letterboxed.
        """
        width = min((style.WIDTH - _GAP * (columns - 1)) / columns, 110.0)
        proportion = panel.clean.shape[-2] / panel.clean.shape[-1]
        return cls(width, width * min(max(proportion, 0.3), 2.0))

    @property
    def row(self) -> float:
        return self.height + 17.0

    def left(self, column: int) -> float:
        return column * (self.width + _GAP)

    def axes(self, target: Figure, row: int, column: int) -> Axes:
        top = _TOP + row * self.row
        created = style.axes(target, self.left(column), top, self.width, self.height)
        style.bare(created)
        for spine in created.spines.values():  # a white corner must not melt into a white page
            spine.set(visible=True, color=RULE, linewidth=0.6)
        return created

    def name(self, target: Figure, column: int, text: str) -> None:
        style.say(target, self.left(column), _TOP - 4, text, fontsize=style.SMALL, color=MUTED)


def _method(
    target: Figure,
    grid: _Grid,
    panel: Panel,
    rows: int,
    column: int,
    limits: tuple[float, float],
) -> None:
    """The two columns of one method, with its name, its note and its values."""
    room = 2 * grid.width
    left = grid.left(column)
    style.say(target, left, 34, style.plain(panel.method, int(room / 7.4)), fontweight="bold")
    note = style.plain(panel.note, int(room / 5.6))
    style.say(target, left, 48, note, fontsize=style.SMALL, color=MUTED)
    cells = [grid.axes(target, i, column) for i in range(rows)]
    if panel.kind == "additive":
        done, result = _draw_noise(cells, panel), "perturbed"
    elif panel.kind == "movement":
        done, result = _draw_movement(cells, panel, limits), "moved"
    else:
        for i, cell in enumerate(cells):
            _show(cell, panel.kept(i)[None], (0.0, 1.0))
        done, result = "mask", "masked"
    grid.name(target, column, done)
    grid.name(target, column + 1, result)
    right = grid.left(column + 1) + grid.width
    for i, value in enumerate(array(panel.value)[:rows]):
        _show(grid.axes(target, i, column + 1), panel.image("perturbed", i), limits)
        foot = _TOP + i * grid.row + grid.height + 11.5
        style.say(
            target, right, foot, f"{value:.3g}", ha="right", fontsize=style.SMALL, color=MUTED
        )


def _draw_noise(cells: Sequence[Axes], panel: Panel) -> str:
    noise = [panel.image("perturbed", i) - panel.image("clean", i) for i in range(len(cells))]
    if len(noise[0]) != 3:
        noise = [r.mean(0, keepdims=True) for r in noise]
    bound = max(float(np.abs(r).max()) for r in noise) or 1.0
    for cell, r in zip(cells, noise, strict=True):
        _show(cell, r, (-bound, bound), colormap="RdBu_r")
    return f"noise, ±{bound:.2g}"


def _draw_movement(cells: Sequence[Axes], panel: Panel, limits: tuple[float, float]) -> str:
    fields = np.stack([panel.field(i) for i in range(len(cells))])
    stride = max(1, math.ceil(max(fields.shape[2:]) / 8))
    factor = round_factor(fields, stride)
    for i, cell in enumerate(cells):
        _show(cell, panel.image("clean", i), limits)
        draw_content(cell, fields[i], stride, factor)
    return f"moves, ×{factor:g}"


def _title(panels: Sequence[Panel]) -> str:
    kinds = {panel.kind for panel in panels}
    if kinds == {"additive"}:
        return "Worst additive noise"
    if kinds == {"movement"}:
        return "Worst movement"
    return "Worst masks" if kinds == {"mask"} else "Worst perturbations"


def _same(a: Panel, b: Panel, rows: int) -> bool:
    return a.clean.shape[1:] == b.clean.shape[1:] and np.array_equal(
        array(a.clean[:rows]), array(b.clean[:rows])
    )


def _range(panels: Sequence[Panel], rows: int) -> tuple[float, float]:
    values = [panel.image("clean", i) for panel in panels for i in range(rows)]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    return low, high if high > low else low + 1.0


def _show(
    plot: Axes, image: NDArray[np.float64], limits: tuple[float, float], colormap: str = "gray"
) -> None:
    """An image (C, H, W): three channels as color, any other number by their mean."""
    low, high = limits
    if len(image) == 3:
        colors = np.clip((np.moveaxis(image, 0, -1) - low) / (high - low), 0.0, 1.0)
        plot.imshow(colors, interpolation="none")
    else:
        plot.imshow(image.mean(0), cmap=colormap, vmin=low, vmax=high, interpolation="none")

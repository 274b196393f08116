"""Displacement fields as arrows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unshaken.pictures import style
from unshaken.pictures.palette import INK
from unshaken.pictures.panel import Array, array

_ARROW = "#e6007e"  # rare in images; its white rim shows it on what is as dark
_SHAPE: Mapping[str, Any] = MappingProxyType(
    {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1.0,
        "units": "inches",
        "width": 1.4 / 72,
        "headwidth": 3.4,
        "headlength": 3.4,
        "headaxislength": 3.0,
        "minlength": 0.5,
    }
)


@style.settings()
def fields_figure(displacements: Mapping[str, Array]) -> Figure:
    """Movement fields on their lattice, as in figure 1 of the VMT paper: the arrow at the position
    p is s·V(p), with the factor s in the heading of each field.

    Args:
        displacements: for each name V of shape (2, H, W) in pixels, component 0 along the rows
            (down), component 1 along the columns (right). The paper's lattice is 15×15.

    Raises:
        ValueError: if there is none, or one does not have that shape.
    """
    if not displacements:
        raise ValueError("displacements must hold at least one field, got none")
    across = min(3, len(displacements))
    down = -(-len(displacements) // across)
    cell = min((style.WIDTH - 14.0 * (across - 1)) / across, 200.0)
    target = style.figure(style.WIDTH, 28 + down * (cell + 30))
    style.heading(target, "Movement fields")
    for number, (name, values) in enumerate(displacements.items()):
        field = array(values)
        if field.ndim != 3 or field.shape[0] != 2:
            raise ValueError(
                f"the field {name!r} must have the shape (2, H, W), got {tuple(field.shape)}"
            )
        left, top = (number % across) * (cell + 14), 28 + (number // across) * (cell + 30)
        plot = style.axes(target, left, top + 20, cell, cell)
        style.bare(plot)
        height, width = field.shape[1:]
        plot.set_aspect("equal")
        stride = max(1, math.ceil(max(height, width) / 15))
        factor = round_factor(field, stride)
        right, down = 0.5 + factor * np.abs(field).max((1, 2))[::-1]
        plot.set_xlim(-right, width - 1 + right)
        plot.set_ylim(height - 1 + down, -down)
        _draw_field(plot, field, stride, factor)
        style.say(target, left, top + 14, f"{style.plain(name, 18)} · arrows ×{factor:g}")
    return target


def round_factor(fields: NDArray[np.float64], stride: int) -> float:
    """A round factor that makes the RMS arrow at most as long as the arrows are apart."""
    rms = math.sqrt(float((fields**2).sum(-3).mean()))
    if rms == 0 or not math.isfinite(rms):
        return 1.0
    wanted = 1.05 * stride / rms
    exponent = 10.0 ** math.floor(math.log10(wanted))
    return max(
        (m * exponent for m in (1.0, 2.0, 3.0, 5.0) if m * exponent <= wanted), default=exponent
    )


def draw_content(plot: Axes, field: NDArray[np.float64], stride: int, factor: float) -> None:
    """Over an image, the way its content goes: I'(p) = I(p + V(p)) brings to p what was at p + V.

    The arrow ends at p and begins at p + factor·V(p), in the pixels of the image.
    """
    columns, rows, right, down = _sampled(field, stride, factor)
    rim: dict[str, Any] = {"edgecolor": "#ffffff", "linewidth": 0.3}
    plot.quiver(columns, rows, -right, -down, pivot="tip", color=_ARROW, **rim, **_SHAPE)


def _draw_field(plot: Axes, field: NDArray[np.float64], stride: int, factor: float) -> None:
    columns, rows, right, down = _sampled(field, stride, factor)
    plot.quiver(columns, rows, right, down, pivot="tail", color=INK, **_SHAPE)


def _sampled(
    field: NDArray[np.float64], stride: int, factor: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Every stride-th position of V (2, H, W), centered: columns, rows, factor·V right and down."""
    height, width = field.shape[1:]
    rows = np.arange((height - 1) % stride // 2, height, stride)
    columns = np.arange((width - 1) % stride // 2, width, stride)
    down, right = factor * field[:, rows[:, None], columns[None, :]]
    across, along = np.meshgrid(columns, rows)
    return across, along, right, down

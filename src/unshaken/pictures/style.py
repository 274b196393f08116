"""The common style of every picture: fonts, sizes, axes, texts.

Lengths are CSS pixels: a figure 480 wide fills a phone's width and half a desktop page with text
of the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from unshaken.pictures.palette import INK, MUTED, RULE

WIDTH = 480.0
SIZE = 12.0
SMALL = 10.5
_PER_INCH = 72.0

_RC: Mapping[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": SIZE,
    "text.color": INK,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "figure.facecolor": "none",
    "image.interpolation": "none",
    "lines.solid_capstyle": "butt",
    "svg.fonttype": "none",
    "svg.hashsalt": "unshaken",
    "svg.image_inline": True,
    "path.simplify": True,
}

_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@contextmanager
def settings() -> Iterator[None]:
    """The house's matplotlib settings, and nobody's own, for as long as the block lasts. Every
    function that returns a figure is decorated with it: `@settings()`.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def figure(width: float, height: float) -> Figure:
    """An empty transparent figure of this many CSS pixels. It belongs to no pyplot state."""
    return Figure(figsize=(width / _PER_INCH, height / _PER_INCH), dpi=_PER_INCH)


def axes(target: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose box is given in pixels from the figure's upper left corner."""
    full_width, full_height = target.get_size_inches() * _PER_INCH
    box = (
        left / full_width,
        1 - (top + height) / full_height,
        width / full_width,
        height / full_height,
    )
    created = target.add_axes(box)
    created.grid(True, color=RULE, linewidth=0.6)
    created.set_axisbelow(True)
    created.tick_params(length=3, width=0.8, pad=2.5)
    return created


def bare(target: Axes) -> None:
    """Takes away ticks, grid and frame: for pictures that are their own frame."""
    target.grid(False)
    target.set_xticks([])
    target.set_yticks([])
    for spine in target.spines.values():
        spine.set_visible(False)


def printable(text: object) -> str:
    """The text without the characters that XML forbids."""
    return _INVALID.sub("", str(text))


def plain(text: object, limit: int = 28) -> str:
    """Any object as one line that XML can carry, shortened to `limit` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def say(
    target: Figure | Axes, x: float, y: float, text: object, *, limit: int = 80, **options: Any
) -> Text:
    """Writes plain text: on a figure at CSS pixels from its upper left corner, on axes in the
    coordinates of the option `transform` (data unless given). A `$` starts no formula.
    """
    words = plain(text, limit)
    if isinstance(target, Axes):
        return target.text(x, y, words, parse_math=False, **options)
    width, height = target.get_size_inches() * _PER_INCH
    return target.text(x / width, 1 - y / height, words, parse_math=False, **options)


def heading(target: Figure, text: object) -> None:
    """The title of a figure, in its upper left corner."""
    say(target, 0, 2, text, ha="left", va="top", fontsize=SIZE + 2, fontweight="bold")


def name_axes(target: Axes, x: object | None, y: object | None) -> None:
    """Names the axes with texts that lie flat: x below its axis' end, y above its axis."""
    if x is not None:
        target.set_xlabel(plain(x, 60), loc="right", parse_math=False, labelpad=3)
        target.xaxis.label.set(fontsize=SMALL + 0.5, color=MUTED)
    if y is not None:
        words = plain(y, 60)
        target.set_title(
            words, loc="left", fontsize=SMALL + 0.5, color=MUTED, pad=6, parse_math=False
        )

"""Which color, line and marker stands for which method.

A family of methods (the plain additive attacks, the closed-form movements, the masks, ...) has
one color; its members differ by line style and its marker repeats the family, so that nothing is
said by color alone. Within one scheme any two family colors stay at least 0.11 apart in OKLab,
also as seen with protanopia, deuteranopia and tritanopia (simulated after Machado, Oliveira and
Fernandes, 2009), and reach a contrast of 3:1 with the page, which WCAG 2.1 asks of graphics.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Dashes = str | tuple[float, tuple[float, ...]]

SOLID: Dashes = "-"
DASHED: Dashes = (0.0, (5.0, 2.0))
DOTTED: Dashes = (0.0, (1.2, 1.6))
DASHDOT: Dashes = (0.0, (6.0, 1.6, 1.2, 1.6))
_STYLES = (SOLID, DASHED, DOTTED, DASHDOT)

# name -> (light page, dark page). The light value is what matplotlib draws; `style.svg` turns it
# into a CSS variable, so that a picture follows the page it stands in.
COLORS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ink": ("#1b1f24", "#e8eaed"),
        "muted": ("#59616c", "#a3abb5"),
        "rule": ("#dcdfe3", "#333941"),
        "paper": ("#fefefe", "#14171b"),
        "control": ("#5e6778", "#888f97"),
        "at": ("#d0720a", "#e27c0c"),
        "vat": ("#23418f", "#426dde"),
        "vmt": ("#359c83", "#7ccba1"),
        "mask": ("#a93ae9", "#d989fe"),
        "finite": ("#b02311", "#cf3f30"),
        "other-1": ("#7a6a00", "#c9b94a"),
        "other-2": ("#0a7f99", "#4fc3dc"),
        "other-3": ("#b0447a", "#ec8fb9"),
        "other-4": ("#7a4a2b", "#c79a78"),
    }
)
INK, MUTED, RULE, PAPER = (COLORS[name][0] for name in ("ink", "muted", "rule", "paper"))

_FAMILIES: Mapping[str, tuple[str, str, tuple[str, ...]]] = MappingProxyType(
    {
        "ink": ("baseline", "D", ("baseline",)),
        "control": (
            "controls",
            "v",
            (
                "random",
                "random-tuned",
                "random-movement",
                "dropout",
                "mask-random",
                "relative-random",
                "random-elastic",
                "random-elastic-labels",
                "random-movement-labels",
                "few-labels-random",
            ),
        ),
        "at": ("additive, labels", "^", ("at-l2", "at-linf", "at")),
        "vat": ("additive, label-free", "o", ("vat", "few-labels-vat", "vat-vmt")),
        "vmt": ("movement rate", "s", ("vmt-shift", "vmt-rotation", "vmt-scale", "vmt-all", "vmt")),
        "mask": (
            "mask",
            "P",
            ("xvat", "xvat-transductive", "xat", "mask-steepest", "mask-worst", "relative"),
        ),
        "finite": (
            "finite movement",
            "X",
            ("mvat", "mat", "mvat-elastic", "mat-elastic", "few-labels"),
        ),
    }
)


@dataclass(frozen=True)
class Look:
    """How one method is drawn wherever it appears.

    Attributes:
        key: name of its color in `COLORS`.
        family: the family in words.
        color: the color on a light page, `#rrggbb`.
        dashes: matplotlib line style.
        marker: matplotlib marker.
    """

    key: str
    family: str
    color: str
    dashes: Dashes
    marker: str


def look(method: str) -> Look:
    """The look of a method, the same in every picture, process and version.

    A known name takes its family's color. A name that extends a family's (`vmt-affine`,
    `random-movement`) joins that family. Any other name is given one of four further colors by
    its checksum, so that it depends on nothing but the name itself.
    """
    for key, (family, marker, members) in _FAMILIES.items():
        if method in members:
            return Look(key, family, COLORS[key][0], _STYLES[members.index(method) % 4], marker)
    digest = zlib.crc32(method.encode("utf-8", "replace"))
    stem = method.split("-")[0]
    for key, (family, marker, members) in _FAMILIES.items():
        if stem in {member.split("-")[0] for member in members}:
            return Look(key, family, COLORS[key][0], _STYLES[digest % 4], marker)
    key = f"other-{digest % 4 + 1}"
    return Look(key, "other", COLORS[key][0], _STYLES[digest // 4 % 4], "p")


def css_variables(scheme: str) -> str:
    """The CSS declarations that give every color its value for "light" or "dark" pages."""
    if scheme not in ("light", "dark"):
        raise ValueError(f'scheme must be "light" or "dark", got {scheme!r}')
    column = 0 if scheme == "light" else 1
    return "".join(f"--u-{name}:{pair[column]};" for name, pair in COLORS.items())

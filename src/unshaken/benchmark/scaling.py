"""How the cost of a step grows with batch, size, channels, depth, fields and mask tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unshaken.benchmark.measure import measure
from unshaken.benchmark.setting import Setting
from unshaken.benchmark.timing import TURN
from unshaken.benchmark.variants import Terms, Variant, named
from unshaken.masks import Table
from unshaken.methods import VMT, XVAT
from unshaken.perturbations.fields import Elastic, Rotation, Shift
from unshaken.perturbations.fields.base import Field

METHODS = ("at-l2", "vat", "vmt-shift", "xvat")
BATCHES = (0.25, 0.5, 1.0, 2.0)
"""÷ the setting's own."""
SIZES = (0.5, 0.75, 1.0, 1.5)
"""÷ the setting's own."""
CHANNELS = (1, 3, 8, 16)
DEPTHS = (1, 2, 4, 8)
ROWS = (1_000, 4_000, 16_000)
MOST_FIELDS = 72

Log = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """One point of an axis.

    Attributes:
        x: where it lies on the axis.
        setting: what is measured there.
        variants: the methods, each with the name of its line.
    """

    x: float
    setting: Setting
    variants: Sequence[tuple[str, Variant]]


@dataclass(frozen=True)
class Axis:
    """One quantity that grows.

    Attributes:
        title: of its figure.
        x: what the axis shows.
        caption: what to see in it.
        places: its points.
    """

    title: str
    x: str
    caption: str
    places: Sequence[Place]


def axes_of(setting: Setting) -> list[Axis]:
    """The axes that make sense for a setting."""
    same = [(name, named(name)) for name in METHODS if named(name).fits(setting.size)]
    each = "Ratios to the plain step of the same shape; a level line costs the same everywhere."

    def over(settings: Sequence[tuple[float, Setting]]) -> list[Place]:
        return [Place(x, other, same) for x, other in settings if _builds(other)]

    batches = [max(2, round(setting.batch_size * f)) for f in BATCHES]
    found = [
        Axis(
            "Examples in a batch",
            "batch size",
            each,
            over([(n, replace(setting, batch_size=n)) for n in batches]),
        )
    ]
    if setting.size:
        sizes = [tuple(round(n * f) for n in setting.size) for f in SIZES]
        found += [
            Axis(
                "Size of the input",
                "pixels along an axis",
                each,
                over([(size[0], replace(setting, size=size)) for size in sizes]),
            ),
            Axis(
                "Channels of the input",
                "channels",
                each,
                over([(n, replace(setting, channels=n)) for n in CHANNELS]),
            ),
            _fields(setting),
        ]
    flat = replace(setting, network="mlp", channels=1, size=(28, 28), batch_size=100)
    found.append(
        Axis(
            "Depth of the network",
            "hidden layers of 256 units",
            "Fully connected networks on 28×28 inputs, batch 100. " + each,
            [Place(n, replace(flat, widths=(256,) * n), _fitting(flat)) for n in DEPTHS],
        )
    )
    found.append(_tables(setting))
    return [axis for axis in found if len(axis.places) > 1 or len(axis.places[0].variants) > 1]


def _fitting(setting: Setting) -> list[tuple[str, Variant]]:
    return [(name, named(name)) for name in METHODS if named(name).fits(setting.size)]


def _fields(setting: Setting) -> Axis:
    """VMT over one field and over more and more elastic ones, all in one race."""
    one: Field = Rotation() if len(setting.size) > 1 else Shift()
    families = [one]
    for modes in range(2, min(setting.size) + 1):
        field = Elastic(modes)
        count = len(setting.size) * (modes ** len(setting.size) - 1)
        if count > MOST_FIELDS:
            break
        families.append(field)
    places = []
    for family in _thinned(families):
        count = len(family.basis(setting.size))
        variant = Variant(f"vmt, {count} fields", terms=_vmt(family), axes=1)
        places.append(Place(count, setting, [("vmt", variant)]))
    return Axis(
        "Fields of VMT",
        "number of movement fields K",
        "VMT's worst field is a closed form in K numbers; the network's passes stay the same.",
        places,
    )


def _vmt(family: Field) -> Terms:
    return lambda shape: [VMT(family)]


def _xvat(sparse: bool) -> Terms:
    return lambda shape: [XVAT(Table(shape.examples, shape.entries, sparse=sparse))]


def _thinned(families: Sequence[Field], most: int = 5) -> list[Field]:
    """The first, the last, and evenly some between."""
    if len(families) <= most:
        return list(families)
    return [families[round(k * (len(families) - 1) / (most - 1))] for k in range(most)]


def _tables(setting: Setting) -> Axis:
    """Transductive xVAT with plain SGD, which takes sparse gradients too."""
    places = []
    for rows in ROWS:
        variants = [
            (name, Variant(name, terms=_xvat(sparse)))
            for name, sparse in (("xvat-dense", False), ("xvat-sparse", True))
        ]
        places.append(Place(rows, replace(setting, examples=rows, optimizer="sgd-plain"), variants))
    return Axis(
        "Rows of the mask table",
        "examples with a mask of their own",
        "Transductive xVAT: the gradient of a dense table has as many rows as the table; a sparse "
        "one has those of the batch.",
        places,
    )


def _builds(setting: Setting) -> bool:
    """Whether the network takes inputs of this shape."""
    try:
        setting.build()
    except ValueError:
        return False
    return True


def scale(
    setting: Setting, rounds: int, *, turn: float = TURN, log: Log | None = None
) -> list[dict[str, Any]]:
    """Every axis measured: plain values, ratios to the plain step of the same shape."""
    found = []
    for axis in axes_of(setting):
        series: dict[str, list[dict[str, Any]]] = {}
        plain: list[dict[str, Any]] = []
        for group in _together(axis.places):
            if log is not None:
                log(f"{axis.title}: {', '.join(f'{place.x:g}' for place in group)}")
            pairs = [(place, line, v) for place in group for line, v in place.variants]
            result = measure(
                group[0].setting, [v for _, _, v in pairs], rounds, textbook=False, turn=turn
            )
            for place in group:
                plain.append(
                    {
                        "x": place.x,
                        "seconds": result["plain"]["seconds"],
                        "peak_bytes": result["plain"]["peak_bytes"],
                    }
                )
            for (place, line, _), row in zip(pairs, result["rows"], strict=True):
                points = series.setdefault(line, [])
                points.append(_point(place.x, row["library"], points))
        found.append(
            {
                "title": axis.title,
                "x": axis.x,
                "caption": axis.caption,
                "series": series,
                "plain": plain,
            }
        )
    return found


def _together(places: Sequence[Place]) -> list[list[Place]]:
    """Places of one setting run in one race."""
    groups: list[list[Place]] = []
    for place in places:
        if groups and groups[-1][0].setting == place.setting:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _point(x: float, result: dict[str, Any], before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratio = result["ratio"]
    first = before[0]["rounds"] if before else ratio["rounds"]
    return {
        "x": x,
        "ratio": ratio["median"],
        "low": ratio["low"],
        "high": ratio["high"],
        "rounds": ratio["rounds"],
        "of_first": statistics.median(
            now / then for now, then in zip(ratio["rounds"], first, strict=True)
        ),
        "memory": result["memory"],
    }

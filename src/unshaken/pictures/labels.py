"""Where to write names so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # left, bottom, right, top


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions in [low, high], in the order of `wanted`, as near to it as a distance of `gap`
    between neighbors allows (least squares). Where they do not fit, the gap shrinks evenly.

    The method is isotonic regression: with i·gap taken away from the sorted positions the
    condition becomes monotony, and neighbors that violate it are pooled to their mean.
    """
    count = len(wanted)
    if count > 1:
        gap = min(gap, (high - low) / (count - 1))
    order = sorted(range(count), key=lambda i: (wanted[i], i))
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        mean, size = wanted[i] - rank * gap, 1
        while pools and pools[-1][0] >= mean:
            other, members = pools.pop()
            mean, size = (mean * size + other * members) / (size + members), size + members
        pools.append((mean, size))
    limit = high - (count - 1) * gap
    flat = [min(max(mean, low), limit) for mean, size in pools for _ in range(size)]
    placed = [0.0] * count
    for rank, i in enumerate(order):
        placed[i] = flat[rank] + rank * gap
    return placed


@dataclass(frozen=True)
class Placed:
    """A text's box and whether it lies far enough from its point to need a line to it."""

    box: Box
    far: bool


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
) -> list[Placed]:
    """A box of the given size (width, height) beside each point, greedily, crowded points first.

    Boxes avoid one another, the obstacles and the outside of `bounds`; among the free places the
    nearest to the point wins, right of it before left. All numbers share one unit (pixels).
    """
    crowd = [
        sum(1 / (10 + math.dist(point, other)) for other in points if other != point)
        for point in points
    ]
    taken = [*obstacles, *((x - 4, y - 4, x + 4, y + 4) for x, y in points)]
    result: dict[int, Placed] = {}
    for i in sorted(range(len(points)), key=lambda i: (-crowd[i], i)):
        best: tuple[float, Placed] | None = None
        for placed, effort in _candidates(points[i], sizes[i]):
            cost = effort + 40 * sum(_overlap(placed.box, other) for other in taken)
            cost += 200 * _outside(placed.box, bounds)
            if placed.far:
                line = _along(points[i], placed.box)
                cost += 60 * sum(
                    _inside(spot, other.box) for spot in line for other in result.values()
                )
            if best is None or cost < best[0]:
                best = (cost, placed)
        if best is not None:
            result[i] = best[1]
            taken.append(best[1].box)
            if best[1].far:
                taken += [(x - 2, y - 2, x + 2, y + 2) for x, y in _along(points[i], best[1].box)]
    return [result[i] for i in range(len(points))]


def _candidates(
    point: tuple[float, float], size: tuple[float, float]
) -> list[tuple[Placed, float]]:
    (x, y), (width, height) = point, size
    found = []
    for distance in (6.0, 14.0, 24.0, 36.0, 50.0, 66.0):
        for step in range(16):
            angle = math.tau * step / 16
            dx, dy = math.cos(angle), math.sin(angle)
            left = x + distance * dx - (width * (1 - dx) / 2)
            bottom = y + distance * dy - (height * (1 - dy) / 2)
            box = (left, bottom, left + width, bottom + height)
            found.append((Placed(box, distance > 6.0), distance + 3 * (1 - dx) + 2 * abs(dy)))
    return found


def nearest(point: tuple[float, float], box: Box) -> tuple[float, float]:
    """The place of the box that is nearest to the point."""
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def _along(point: tuple[float, float], box: Box) -> list[tuple[float, float]]:
    """Places on the line from a point to its text."""
    x, y = nearest(point, box)
    steps = [k / 8 for k in range(1, 8)]
    return [(point[0] + k * (x - point[0]), point[1] + k * (y - point[1])) for k in steps]


def _inside(point: tuple[float, float], box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0


def _outside(box: Box, bounds: Box) -> float:
    return (
        max(0.0, bounds[0] - box[0])
        + max(0.0, bounds[1] - box[1])
        + max(0.0, box[2] - bounds[2])
        + max(0.0, box[3] - bounds[3])
    )

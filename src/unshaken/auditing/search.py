"""How far a movement must go before the prediction changes: thresholds and curves."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unshaken.auditing.families import Family
from unshaken.perturbations.warp import warp

Predict = Callable[[Tensor], Tensor]
"""Inputs to class indices, for any number of examples."""

Told = Callable[[float], None]
"""Told the share of a search that is done."""

BISECTIONS = 5


@dataclass(frozen=True)
class Found:
    """What the search along one family gave, for N examples.

    Attributes:
        threshold: ``(N,)`` the least degree found at which the prediction differs from that of the
            input as it is; infinite where none did.
        direction: ``(N, K)`` the direction it was found in.
        changed_to: ``(N,)`` the prediction there; the clean one where none changed.
        degrees: the degrees of the curves.
        random: for each of them the predictions ``(N,)`` under a random direction.
    """

    threshold: Tensor
    direction: Tensor
    changed_to: Tensor
    degrees: list[float]
    random: list[Tensor]


def degrees_of(family: Family, largest: float | None, steps: int) -> list[float]:
    """Even degrees from ``largest / steps`` to ``largest``."""
    top = family.largest() if largest is None else largest
    return [top * (k + 1) / steps for k in range(steps)]


def directions_of(
    family: Family, steepest: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Directions ``(D, N, K)`` to look along: the steepest, its opposite, then ``count`` more.

    With one parameter there are only these two; with two the others lie evenly on the circle; with
    more they are random.
    """
    steepest = steepest.float()
    found = [steepest, -steepest]
    if family.freedom == 2:
        angles = [2 * math.pi * k / max(count, 1) for k in range(count)]
        found += [torch.tensor([math.cos(a), math.sin(a)]).expand_as(steepest) for a in angles]
    elif family.freedom > 2:
        found += [_random_like(steepest, generator) for _ in range(count)]
    return torch.stack(found)


def search(
    family: Family,
    x: Tensor,
    clean: Tensor,
    predict: Predict,
    directions: Tensor,
    degrees: Sequence[float],
    generator: torch.Generator,
    padding: str,
    told: Told,
) -> Found:
    """Scan the degrees along every direction, then halve the step in which a change was found.

    An example whose prediction has changed leaves the scan, and a direction that changes nothing
    in the step leaves the halving, which saves most of the work.

    Args:
        family: what moves.
        x: inputs ``(N, C, *size)``.
        clean: their predictions ``(N,)``.
        predict: the classifier.
        directions: ``(D, N, K)``.
        degrees: rising.
        generator: of the random directions, on the CPU.
        padding: what lies outside of an input.
        told: told after every batch how far it is.
    """
    count, step, before = len(x), degrees[0], clean.cpu()
    course = _Course(predict, told, len(degrees) + BISECTIONS)
    threshold = torch.full((count,), math.inf)
    best = torch.zeros(count, dtype=torch.long)
    changed_to = before.clone()
    # Which directions change the prediction within the step that is being halved.
    changing = torch.zeros(len(directions), count, dtype=torch.bool)

    def look(rows: Tensor, degree: Tensor, along: Tensor) -> Tensor:
        """Which of the directions ``along`` ``(D, rows)`` change the prediction at a degree."""
        found = torch.zeros_like(along)
        for d, candidate in enumerate(directions):
            some = along[d].nonzero().flatten()
            if len(some):
                own = rows[some]
                now = _moved(family, x, own, candidate[own], degree[some], course, padding)
                hit = now != before[own]
                found[d, some] = hit
                best[own[hit]], changed_to[own[hit]] = d, now[hit]
        return found

    random = []
    for degree in degrees:
        alive = (threshold == math.inf).nonzero().flatten()
        course.begin(len(directions) * len(alive) + count)
        at = torch.full((len(alive),), degree)
        found = look(alive, at, torch.ones(len(directions), len(alive), dtype=torch.bool))
        threshold[alive[found.any(0)]] = degree
        changing[:, alive] = found
        drawn = _random_like(directions[0], generator)
        every = torch.arange(count)
        at = torch.full((count,), degree)
        random.append(_moved(family, x, every, drawn, at, course, padding))
    rows = (threshold < math.inf).nonzero().flatten()
    low, high = threshold[rows] - step, threshold[rows].clone()
    for _ in range(BISECTIONS if len(rows) else 0):
        middle = (low + high) / 2
        course.begin(int(changing[:, rows].sum()))
        found = look(rows, middle, changing[:, rows])
        changed = found.any(0)
        changing[:, rows[changed]] = found[:, changed]
        high, low = torch.where(changed, middle, high), torch.where(changed, low, middle)
    threshold[rows] = high
    direction = directions[best, torch.arange(count)]
    return Found(threshold, direction, changed_to, list(degrees), random)


def tolerance(degrees: Sequence[float]) -> float:
    """How far above the least degree along the directions tried a threshold may lie.

    A change that comes and goes between two degrees that were looked at is not seen.
    """
    return degrees[0] / 2**BISECTIONS


class _Course:
    """Calls the classifier and tells how far the search is: stages, and inputs in each."""

    def __init__(self, predict: Predict, told: Told, stages: int) -> None:
        self.predict, self.told, self.stages = predict, told, stages
        self.batch_size: int = getattr(predict, "batch_size", sys.maxsize)
        self.stage, self.planned, self.passed = -1, 1, 0

    def begin(self, planned: int) -> None:
        """A stage in which so many inputs pass."""
        self.stage, self.planned, self.passed = self.stage + 1, planned, 0

    def __call__(self, x: Tensor) -> Tensor:
        found = self.predict(x)
        self.passed += len(x)
        self.told((self.stage + self.passed / self.planned) / self.stages)
        return found


def _moved(
    family: Family,
    x: Tensor,
    rows: Tensor,
    direction: Tensor,
    degree: Tensor,
    course: _Course,
    padding: str,
) -> Tensor:
    """Predictions of some rows, moved; in batches as the classifier takes them."""
    found = []
    for part in torch.arange(len(rows)).split(course.batch_size):
        own = x[rows[part]]
        v = family.displacement(own, direction[part].to(own.device), degree[part].to(own.device))
        found.append(course(warp(own, v, padding)).cpu())
    return torch.cat(found)


def _random_like(direction: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(direction.shape, generator=generator)
    return drawn / drawn.norm(dim=1, keepdim=True).clamp_min(1e-12)

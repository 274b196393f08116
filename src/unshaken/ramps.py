"""Sizes that change in the course of training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unshaken import checks

SHAPES = ("linear", "sigmoid")


@dataclass(frozen=True)
class Ramp:
    """A radius that goes from ``start`` to ``end`` over the first ``steps`` training calls.

    With ``t = min(calls / steps, 1)`` it is ``start + (end − start) s(t)``: ``s(t) = t``, or for
    ``"sigmoid"`` ``s(t) = (exp(−5 (1 − t)²) − exp(−5)) / (1 − exp(−5))``, the ramp of Laine & Aila
    (2017) from exactly 0 on. Give it to any adversary or method in place of a radius. The count
    of calls is in the term's state dict, so that a resumed run goes on where it was; calls in
    evaluation mode or without gradients do not count.

    Args:
        start: the radius of the first call, ≥ 0.
        end: the radius from call ``steps`` on, ≥ 0.
        steps: training calls from one to the other.
        shape: ``"linear"`` or ``"sigmoid"``.

    Example:
        >>> MVAT(fields.Affine(), radius=Ramp(0.2, 1.5, steps=1000))
    """

    start: float
    end: float
    steps: int
    shape: str = "linear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", checks.radius(self.start, "start"))
        object.__setattr__(self, "end", checks.radius(self.end, "end"))
        checks.integer(self.steps, "steps")
        checks.choice(self.shape, "shape", SHAPES)

    @property
    def largest(self) -> float:
        """The largest radius it takes."""
        return max(self.start, self.end)

    def at(self, calls: int) -> float:
        """The radius after so many training calls."""
        t = min(calls / self.steps, 1.0)
        if self.shape == "sigmoid":
            first = math.exp(-5)
            t = (math.exp(-5 * (1 - t) ** 2) - first) / (1 - first)
        return self.start + (self.end - self.start) * t

    def __repr__(self) -> str:
        text = f"Ramp({self.start:g}, {self.end:g}, steps={self.steps}"
        return text + (")" if self.shape == "linear" else f", shape={self.shape!r})")

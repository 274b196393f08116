"""Additive noise in a ball: AT and VAT."""

from __future__ import annotations

from torch import Tensor

from unshaken.perturbations.base import Ball


class Additive(Ball):
    """``P(x, r) = x + r`` with ``‖r‖ ≤ radius`` for each example (xVAT eq. 1-4).

    Args:
        norm: 2 (Euclidean, over all entries of an example) or ``math.inf`` (each entry by itself).

    Raises:
        ValueError: for another norm.
    """

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return x + a

    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return a

    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        return g

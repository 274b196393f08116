"""Elastic: smooth deformations made of low frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import pi

import torch
from torch import Tensor

from unshaken import checks
from unshaken.perturbations.fields.base import Field, dimensions, unit


class Elastic(Field):
    """K = n (modesⁿ − 1) fields: products of the lowest cosine modes along each axis.

    Field (j, m) moves along axis j by ``Π_i cos(π m_i (p_i + ½) / d_i)`` with ``0 ≤ m_i < modes``
    (the basis of the discrete cosine transform, type II). The constant mode is left out: it is
    :class:`Shift`.

    Args:
        modes: frequencies along each axis, at least 2 and at most the axis's length.
    """

    def __init__(self, modes: int = 4) -> None:
        self.modes = checks.integer(modes, "modes", low=2)

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Elastic")
        if min(size) < self.modes:
            raise ValueError(
                f"modes must be at most the shortest spatial axis, got modes={self.modes} for size "
                f"{tuple(size)}"
            )
        waves = [
            torch.cos(
                pi * torch.arange(self.modes).outer(torch.arange(d, dtype=torch.float64) + 0.5) / d
            )
            for d in size
        ]
        modes = [m for m in product(range(self.modes), repeat=n) if any(m)]
        basis = torch.zeros(n, len(modes), n, *size, dtype=torch.float64)
        for k, m in enumerate(modes):
            wave = torch.ones((), dtype=torch.float64)
            for i in range(n):
                shape = [1] * n
                shape[i] = size[i]
                wave = wave * waves[i][m[i]].reshape(shape)
            for j in range(n):
                basis[j, k, j] = wave
        return unit(basis.flatten(0, 1))

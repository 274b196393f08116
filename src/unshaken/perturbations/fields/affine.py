"""Affine: every linear map about the center, and every shift."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, centered, dimensions, unit


class Affine(Field):
    """K = n + n² fields: the n shifts, then ``V_i = p_j − c_j`` for every pair (i, j)."""

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Affine")
        p = centered(size)
        basis = torch.zeros(n + n * n, n, *size, dtype=torch.float64)
        for i in range(n):
            basis[i, i] = 1
            for j in range(n):
                basis[n + i * n + j, i] = p[j]
        return unit(basis)

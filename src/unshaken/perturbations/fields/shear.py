"""Shear: each axis slides along another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, centered, dimensions, unit


class Shear(Field):
    """K = n(n−1) fields, one for each ordered pair i ≠ j: ``V_i = p_j − c_j``."""

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Shear", least=2)
        p = centered(size)
        pairs = list(permutations(range(n), 2))
        basis = torch.zeros(len(pairs), n, *size, dtype=torch.float64)
        for k, (i, j) in enumerate(pairs):
            basis[k, i] = p[j]
        return unit(basis)

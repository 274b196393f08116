"""Rotation about the center (VMT eq. 14), in every plane."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, centered, dimensions, unit


class Rotation(Field):
    """K = n(n−1)/2 fields, one for each plane (i, j): ``(V_i, V_j) = (c_j − p_j, p_i − c_i)``."""

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Rotation", least=2)
        p = centered(size)
        planes = list(combinations(range(n), 2))
        basis = torch.zeros(len(planes), n, *size, dtype=torch.float64)
        for k, (i, j) in enumerate(planes):
            basis[k, i], basis[k, j] = -p[j], p[i]
        return unit(basis)

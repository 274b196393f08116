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
        return self.spaced_basis(size, (1.0,) * len(size))

    def spaced_basis(self, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
        n = dimensions(size, "Rotation", least=2)
        p, h = centered(size), spacing
        planes = list(combinations(range(n), 2))
        basis = torch.zeros(len(planes), n, *size, dtype=torch.float64)
        for k, (i, j) in enumerate(planes):
            # What turns the object with pixels of h_i × h_j, in pixels again.
            basis[k, i], basis[k, j] = -p[j] * (h[j] / h[i]), p[i] * (h[i] / h[j])
        return unit(basis)

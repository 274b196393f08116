"""Shift: the same movement everywhere (VMT eq. 11)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, dimensions


class Shift(Field):
    """K = n fields; field j moves every position by one pixel along axis j."""

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Shift")
        basis = torch.zeros(n, n, *size, dtype=torch.float64)
        for j in range(n):
            basis[j, j] = 1
        return basis

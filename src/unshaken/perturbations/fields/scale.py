"""Scale: stretching along each axis (VMT eq. 15)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unshaken.perturbations.fields.base import Field, centered, dimensions, unit


class Scale(Field):
    """K = n fields; field j stretches axis j about the center: ``V_j = p_j − c_j``."""

    def basis(self, size: Sequence[int]) -> Tensor:
        n = dimensions(size, "Scale")
        basis = torch.zeros(n, n, *size, dtype=torch.float64)
        for j, position in enumerate(centered(size)):
            basis[j, j] = position
        return unit(basis)

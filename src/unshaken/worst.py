"""The worst perturbation that a regularizer found, to look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unshaken import checks
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.perturbations.movement import Movement
from unshaken.perturbations.warp import warp as resample


@dataclass(frozen=True)
class Worst:
    """What training would use for these inputs.

    Attributes:
        value: ``(N,)`` the divergence under the perturbation; for VMT the rate R per pixel.
        x: the clean inputs.
        parameters: the perturbation's parameters, a row for each example.
        perturbation: the family they belong to.
        infinitesimal: whether the method takes the limit of vanishing size (VMT).
    """

    value: Tensor
    x: Tensor
    parameters: Tensor
    perturbation: Perturbation
    infinitesimal: bool = False

    @property
    def coefficients(self) -> Tensor:
        """``(N, K)``: weights of the basis fields in :attr:`displacement` (movements only).

        Of RMS displacement 1 (zero where no movement changes anything); for VMT's random mixture
        along the mixed field.
        """
        size = self._movement("coefficients").size(self.x, self.parameters)
        scale = torch.where(size > 0, 1 / torch.where(size > 0, size, 1), 0)
        return self.parameters * scale.unsqueeze(1).to(self.parameters.dtype)

    @property
    def displacement(self) -> Tensor:
        """``(N, n, *size)``: the unit field of positive rate, in pixels along each axis."""
        return self._movement("displacement").displacement(self.x, self.coefficients)

    @property
    def mask(self) -> Tensor:
        """``(N, 1, *size)``: the mask z in [0, 1] (masks only)."""
        if not isinstance(self.perturbation, Mask):
            raise AttributeError(f"a {type(self.perturbation).__name__} perturbation has no mask")
        return self.parameters

    @property
    def perturbed(self) -> Tensor:
        """The inputs that training evaluates, like x; for VMT changed by size 1 to first order."""
        if self.infinitesimal:
            return self.apply()
        return self.perturbation(self.x, self.parameters)

    def apply(self, degree: float = 1.0, warp: bool = False) -> Tensor:
        """The inputs perturbed to another degree, like x.

        Movements: the unit field times ``degree`` pixels (RMS); an infinitesimal one to first order
        unless ``warp``, a finite one always by resampling. Others: ``x + degree (perturbed − x)``.
        """
        degree = checks.number(degree, "degree")
        if not isinstance(self.perturbation, Movement):
            if self.infinitesimal:
                return self.x + degree * self.perturbation.tangent(self.x, self.parameters)
            return self.x + degree * (self.perturbed - self.x)
        if warp or (self.perturbation.warp and not self.infinitesimal):
            moving = self.perturbation
            finite = moving.finite_displacement(self.x, degree * self.coefficients)
            return resample(self.x, finite, moving.padding, moving.interpolation)
        return self.x + degree * self.perturbation.tangent(self.x, self.coefficients)

    def _movement(self, name: str) -> Movement:
        if not isinstance(self.perturbation, Movement):
            raise AttributeError(f"a {type(self.perturbation).__name__} perturbation has no {name}")
        return self.perturbation

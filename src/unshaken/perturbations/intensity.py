"""Intensity: changes of the values themselves, in a few directions that physics allows."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from unshaken import draws
from unshaken.autograd import flat, full_precision, normalize, safe_norm
from unshaken.perturbations.base import Perturbation


class Intensity(Perturbation):
    """``P(x, a) = x + Σ_k a_k C_k(x)``; a holds ``(N, K)``. What a movement field is to positions,
    a change ``C_k`` is to values: brightness, contrast, a gradient of light, gain, drift, hum.

    Subclass it and write :meth:`changes`; the worst change and its rate follow. The size of a is
    the root mean square change of the input's entries, ``√(aᵀ G a)`` with the Gram matrix
    ``G_kl = mean_p C_k · C_l`` of each example. For the gradient ``s_k = Σ_p g · C_k`` the worst
    change of size 1 has the rate ``√(sᵀ G⁻¹ s)``; changes that depend on one another, or vanish
    on an example, are handled by the pseudo-inverse.
    """

    @abstractmethod
    def changes(self, x: Tensor) -> Tensor:
        """``(N, K, *x.shape[1:])``: K changes of each example, in the units of x."""

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return x + self.tangent(x, a)

    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        changes = self._changes(x)
        return torch.einsum("nk,nk...->n...", a.to(changes.dtype), changes)

    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        return torch.einsum("nkp,np->nk", self._changes(x).flatten(2), flat(g))

    def steepest(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        whitener = self._whitener(x)
        return radius * _times(whitener, normalize(_times(whitener.mT, s)))

    def random(self, x: Tensor, radius: float) -> Tensor:
        whitener = self._whitener(x)
        draw = draws.normal(tuple(whitener.shape[:2]), whitener.dtype, x.device)
        # Coordinates of directions that an example does not have must not take length away.
        present = whitener.square().sum(1) > 0
        return radius * _times(whitener, normalize(draw * present))

    def rate(self, x: Tensor, s: Tensor) -> Tensor:
        whitener = self._whitener(x)
        rate = safe_norm(_times(whitener.mT, s))
        if not x.requires_grad:
            return rate
        # x moves the metric as well: ∂R/∂G = −½ R a aᵀ at the worst a of size 1.
        with torch.no_grad():
            a = _times(whitener, normalize(_times(whitener.mT, s)))
        square = flat(self.tangent(x, a)).square().mean(1)
        return rate - 0.5 * rate.detach() * (square - square.detach())

    def shape(self, x: Tensor) -> tuple[int, ...]:
        return tuple(self._changes(x).shape[:2])

    def _changes(self, x: Tensor) -> Tensor:
        changes = self.changes(x)
        if changes.dim() != x.dim() + 1 or (changes.shape[0], *changes.shape[2:]) != x.shape:
            raise ValueError(
                f"{type(self).__name__}.changes(x) must have shape (N, K, ...) = "
                f"({len(x)}, K, {', '.join(map(str, x.shape[1:]))}), got {tuple(changes.shape)}"
            )
        return changes.to(x.dtype)

    def _whitener(self, x: Tensor) -> Tensor:
        """``(N, K, K)`` with ``W Wᵀ = G⁺``; a column of zeros for each missing direction."""
        with torch.no_grad(), full_precision(x.device):
            changes = self._changes(x).flatten(2)
            wide = changes if changes.dtype == torch.float64 else changes.float()
            gram = wide @ wide.mT / wide.shape[2]
            values, vectors = torch.linalg.eigh(gram)
            kept = values > values.amax(1, keepdim=True).clamp_min(0) * 1e-6
            scale = torch.where(kept, values.clamp_min(torch.finfo(wide.dtype).tiny), 1).rsqrt()
            return vectors * (scale * kept).unsqueeze(1)


def _times(matrices: Tensor, rows: Tensor) -> Tensor:
    with full_precision(rows.device):
        return (matrices @ rows.to(matrices.dtype).unsqueeze(2)).squeeze(2)

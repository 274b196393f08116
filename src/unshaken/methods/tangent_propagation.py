"""Tangent propagation."""

from __future__ import annotations

import torch

from unshaken.adversaries.base import Penalty
from unshaken.autograd import full_precision
from unshaken.kernels import differentiable_attention
from unshaken.passes import CleanPass, reached
from unshaken.perturbations import Movement
from unshaken.perturbations.fields import Field
from unshaken.regularizer import Found, Term


class TangentPropagation(Term):
    """The outputs should not change along tangents of known transformations (Simard et al. 1998).

    ``mean_i Σ_k ‖∂f(x_i moved by ε B_k)/∂ε‖²`` over an orthonormal basis B_k of the fields' span,
    at ε = 0 and in pixels (root mean square). One direction is drawn in each call, which makes the
    sum over k exact in the mean at the cost of a single one. The derivative is exact, ``J t`` as
    that of ``Jᵀ u`` in u, and is differentiated again. Label-free. With batch norm in training mode
    all examples of the batch move at once.

    Args:
        fields: field families; together they span the movements.
        weight: factor of the term.
        border: how the image derivative ends.
    """

    def __init__(
        self,
        *fields: Field,
        weight: float = 1.0,
        border: str = "zero",
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(weight, batch_norm, name or "tangent-prop", every, ramp)
        self.movement = Movement(*fields, border=border)

    def check(self, x: torch.Tensor) -> None:
        self.movement.check(x)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        leaf = clean.own_leaf(full=True)
        x = leaf.detach()
        rank = self.movement.geometry(x).whitener.shape[1]
        with torch.no_grad():
            a = self.movement.random(x, rank**0.5)
        with torch.enable_grad(), full_precision(x.device), differentiable_attention():
            # An encoder in front of x moves the tangents, too.
            t = self.movement.tangent(leaf if clean.x.requires_grad else x, a)
            outputs = clean.again(leaf, eager=True)
            u = torch.zeros_like(outputs, requires_grad=True)
            (pulled,) = torch.autograd.grad(outputs, leaf, u, create_graph=True, allow_unused=True)
            pulled = reached(pulled)
            (along,) = torch.autograd.grad(pulled, u, t.to(pulled.dtype), create_graph=True)
        positions = max(1, along[0, 0].numel()) if along.dim() > 1 else 1
        return Penalty(along.flatten(1).square().sum(1) / positions, None, along)

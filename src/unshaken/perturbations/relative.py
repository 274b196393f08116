"""Relative change about an anchor: a multiplicative perturbation whose center is no change."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken.perturbations.base import Ball


class Relative(Ball):
    """``P(x, r) = x + (x − anchor) ⊙ r`` with ``‖r‖ ≤ radius`` for each example.

    Entries far from the anchor may change more than those near it; an entry at the anchor never
    changes. With the anchor at 0 this is ``x ⊙ (1 + r)``.

    Args:
        norm: 2 or ``math.inf``, of the ``x``-shaped tensor r.
        anchor: a number, or a tensor that broadcasts to an example's shape.
    """

    anchor: Tensor

    def __init__(self, norm: float = 2, anchor: float | Tensor = 0.0) -> None:
        super().__init__(norm)
        value = torch.as_tensor(anchor, dtype=torch.get_default_dtype())
        if not bool(torch.isfinite(value).all()):
            raise ValueError("anchor must hold finite values, got NaN or infinity")
        self.register_buffer("anchor", value, persistent=False)

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return x + self.tangent(x, a)

    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return (x - self.anchor.to(x)) * a

    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        return (x - self.anchor.to(x)) * g

    def check(self, x: Tensor) -> None:
        try:
            fits = torch.broadcast_shapes(self.anchor.shape, x.shape[1:]) == x.shape[1:]
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"anchor must broadcast to an example of shape {tuple(x.shape[1:])}, "
                f"got {tuple(self.anchor.shape)}"
            )

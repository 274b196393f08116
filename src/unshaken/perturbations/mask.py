"""Multiplicative masks: xAT and xVAT."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unshaken import checks, draws
from unshaken.autograd import flat
from unshaken.distributions import MaskDistribution
from unshaken.perturbations.base import Perturbation


class Mask(Perturbation):
    """``P(x, z) = x ⊙ (scale · z)`` with a mask z in [0, 1] (xVAT eq. 5 and section 2.2.4).

    One mask channel is shared by all channels of ``x``: z is ``(N, 1, *size)`` for inputs
    ``(N, C, *size)``, and ``(N, D)`` for inputs ``(N, D)``. With ``scale=1`` a mask only darkens,
    with ``scale=2`` it darkens or brightens. A mask leaves a zero entry as it is: center the
    inputs.

    Args:
        scale: ε > 0.
        sparsity: λ ≥ 0, the price that a learned mask gains for each entry it keeps: the mean of
            ``P(z ≠ 0)`` over its entries (eq. 8, 11).
        smoothness: the price it pays for the mean absolute difference of neighboring entries.
        block: entries go together in blocks so many wide along each spatial axis, where a share
            of them is erased; a learned mask, which has a ``log α`` for each entry, needs 1.

    Raises:
        ValueError: if an argument is negative, zero scale, or not finite.
    """

    def __init__(
        self,
        scale: float = 1.0,
        sparsity: float = 1.0,
        smoothness: float = 0.0,
        block: int = 1,
    ) -> None:
        super().__init__()
        self.block = checks.integer(block, "block")
        self.scale = checks.number(scale, "scale", low=0.0, open_low=True)
        self.sparsity = checks.number(sparsity, "sparsity", low=0.0)
        self.smoothness = checks.number(smoothness, "smoothness", low=0.0)

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return x * (self.scale * a)

    def tangent(self, x: Tensor, a: Tensor) -> Tensor:
        return x * (self.scale * a)

    def pull_back(self, x: Tensor, g: Tensor) -> Tensor:
        product = self.scale * g * x
        return product.sum(1, keepdim=True) if x.dim() > 2 else product

    def steepest(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        """Erase the ``radius`` share of the entries (blocks) that gains most by being erased."""
        if self.block > 1:
            pad = [n for d in reversed(s.shape[2:]) for n in (0, -d % self.block)]
            s = F.pad(s, pad)
            for axis in range(2, s.dim()):
                s = s.unflatten(axis, (-1, self.block)).sum(axis + 1)
        return self._without_least(x, s, radius)

    def random(self, x: Tensor, radius: float) -> Tensor:
        """Erase a random ``radius`` share of the entries, the same number in each example."""
        size = self.shape(x)
        if self.block > 1:
            size = (*size[:2], *(-(-d // self.block) for d in size[2:]))
        return self._without_least(x, draws.uniform(size, x.dtype, x.device), radius)

    def _without_least(self, x: Tensor, s: Tensor, radius: float) -> Tensor:
        rows = flat(s)
        erased = round(checks.number(radius, "radius", low=0.0, high=1.0) * rows.shape[1])
        mask = torch.ones_like(rows)
        mask.scatter_(1, rows.topk(erased, dim=1, largest=False).indices, 0.0)
        mask = mask.reshape(s.shape)
        if self.block > 1:
            for axis, length in enumerate(x.shape[2:], start=2):
                mask = mask.repeat_interleave(self.block, axis).narrow(axis, 0, length)
        return mask

    def check(self, x: Tensor) -> None:
        if self.block > 1 and x.dim() < 3:
            raise ValueError(
                f"block={self.block} needs inputs (N, C, *size) with spatial axes, got shape "
                f"{tuple(x.shape)}; use block=1"
            )

    def rate(self, x: Tensor, s: Tensor) -> Tensor:
        raise ValueError("Mask has no rate at no change: Infinitesimal needs Additive or Movement")

    def price(self, z: Tensor, distribution: MaskDistribution) -> Tensor:
        """``λ E‖z‖₀ − smoothness · mean |∇z|``, what a mask gains beside D: ``(N,)``."""
        gain = self.sparsity * flat(distribution.nonzero_probability).mean(1)
        return gain - self.roughness(z) if self.smoothness else gain

    def roughness(self, z: Tensor) -> Tensor:
        """``smoothness · mean |∇z|``: ``(N,)``."""
        found = z.new_zeros(len(z))
        if self.smoothness:
            for axis in range(2 if z.dim() > 2 else 1, z.dim()):
                if z.shape[axis] > 1:
                    found = found + self.smoothness * flat(z.diff(dim=axis).abs()).mean(1)
        return found

    def shape(self, x: Tensor) -> tuple[int, ...]:
        return (x.shape[0], 1, *x.shape[2:]) if x.dim() > 2 else tuple(x.shape)

    def extra_repr(self) -> str:
        text = f"scale={self.scale:g}, sparsity={self.sparsity:g}"
        text += f", smoothness={self.smoothness:g}" if self.smoothness else ""
        return text + (f", block={self.block}" if self.block > 1 else "")


def require_mask(perturbation: Perturbation) -> Mask:
    """The perturbation, where it is a mask; ``ValueError`` otherwise."""
    if not isinstance(perturbation, Mask):
        raise ValueError(
            f"a mask adversary needs the perturbation Mask, got {type(perturbation).__name__}"
        )
    return perturbation

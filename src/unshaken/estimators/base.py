"""What an estimator of a mask's gradient is, and the exact gradient of small problems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn

from unshaken import checks

Function = Callable[[Tensor], Tensor]
"""f: from masks ``(N, ...)`` to values ``(N,)``, each of its own row alone."""

LARGEST = 16
"""Entries of a mask up to which all masks are tried."""


class Estimator(nn.Module, ABC):
    """Estimates ``g = ∂ E_z[f(z)] / ∂ log α`` for independent ``z_j ~ Bernoulli(σ(log α_j))``.

    Call it with f, ``log α`` of shape ``(N, ...)`` (N problems, a row each, which differ in
    ``log α`` and in what f makes of their row) and the number of draws that are averaged; it gives
    a constant of the shape of ``log α``.
    """

    unbiased: ClassVar[bool]
    """Whether its mean is g."""

    differentiates: ClassVar[bool] = True
    """Whether f must be differentiable in masks between 0 and 1."""

    def forward(self, f: Function, log_alpha: Tensor, draws: int = 1) -> Tensor:
        """The estimate.

        Raises:
            ValueError: ``draws`` is not a whole number >= 1, or f does not give a value a row.
        """
        draws = checks.integer(draws, "draws")
        with torch.enable_grad():
            leaf = log_alpha.detach().requires_grad_()
            return self.gradient(f, leaf, draws).detach()

    def gradient(self, f: Function, log_alpha: Tensor, draws: int) -> Tensor:
        """The mean over the draws; ``log_alpha`` is a leaf."""
        return torch.stack([self.once(f, log_alpha) for _ in range(draws)]).mean(0)

    @abstractmethod
    def once(self, f: Function, log_alpha: Tensor, *, fitting: bool = False) -> Tensor:
        """The estimate from one draw, where ``fitting`` differentiable in own parameters."""


def values_of(f: Function, z: Tensor) -> Tensor:
    """``f(z)``, checked."""
    found = f(z)
    if found.shape != z.shape[:1]:
        raise ValueError(
            f"f must give one value for each row, of shape {tuple(z.shape[:1])} for masks "
            f"{tuple(z.shape)}, got {tuple(found.shape)}"
        )
    return found


def exact(f: Function, log_alpha: Tensor) -> Tensor:
    """The gradient itself: ``Σ_z P(z) f(z) (z − σ(log α))`` over all masks z.

    Args:
        f: values of masks.
        log_alpha: ``(N, ...)`` with at most 16 entries a row.

    Raises:
        ValueError: if there are more.
    """
    rows = log_alpha.detach().flatten(1)
    count = rows.shape[1]
    if count > LARGEST:
        raise ValueError(f"exact tries all masks: at most {LARGEST} entries a row, got {count}")
    p = rows.sigmoid()
    total = torch.zeros_like(rows)
    with torch.no_grad():
        for bits in product((0.0, 1.0), repeat=count):
            z = torch.tensor(bits, dtype=rows.dtype, device=rows.device).expand_as(rows)
            weight = torch.where(z > 0, p, 1 - p).prod(1)
            value = values_of(f, z.reshape(log_alpha.shape))
            total += (weight * value).unsqueeze(1) * (z - p)
    return total.reshape(log_alpha.shape)

"""Pathwise estimators: f at a relaxed mask, differentiated through the draw. Biased."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from unshaken import checks
from unshaken.distributions import BinaryConcrete, HardConcrete, MaskDistribution
from unshaken.estimators.base import Estimator, Function, values_of


class Pathwise(Estimator):
    """``∂ f(z(log α, u)) / ∂ log α`` with a differentiable draw z: one evaluation and backward.

    The gradient is that of the relaxed expectation, or of none at all; not that of binary masks.

    Args:
        temperature: β > 0 of the relaxation: small values lower the bias and raise the variance.
    """

    unbiased = False

    def __init__(self, temperature: float = 2 / 3) -> None:
        super().__init__()
        self.temperature = checks.number(temperature, "temperature", low=0.0, open_low=True)

    @abstractmethod
    def distribution(self, log_alpha: Tensor) -> MaskDistribution:
        """The relaxed masks."""

    def once(self, f: Function, log_alpha: Tensor, *, fitting: bool = False) -> Tensor:
        value = values_of(f, self.distribution(log_alpha).rsample())
        (gradient,) = torch.autograd.grad(value.sum(), log_alpha)
        return gradient

    def extra_repr(self) -> str:
        return f"temperature={self.temperature:g}"


class HardConcretePath(Pathwise):
    """The hard concrete distribution, whose draws are exactly 0 or 1 at times (xVAT eq. 11)."""

    def distribution(self, log_alpha: Tensor) -> MaskDistribution:
        return HardConcrete(log_alpha, self.temperature)


class GumbelSoftmax(Pathwise):
    """The binary concrete distribution (Jang et al. 2017; Maddison et al. 2017)."""

    def distribution(self, log_alpha: Tensor) -> MaskDistribution:
        return BinaryConcrete(log_alpha, self.temperature)


class StraightThrough(Pathwise):
    """f at the binary mask, differentiated as if it were Gumbel-softmax's relaxed one."""

    def distribution(self, log_alpha: Tensor) -> MaskDistribution:
        return BinaryConcrete(log_alpha, self.temperature, straight_through=True)

"""Distributions of masks, by ``log α``: binary ones, and differentiable stand-ins for them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from unshaken import checks


class MaskDistribution(ABC):
    """Independent variables in [0, 1], each with its own ``log α``."""

    def __init__(self, log_alpha: Tensor) -> None:
        self.log_alpha = log_alpha

    @abstractmethod
    def rsample(self, uniform: Tensor | None = None) -> Tensor:
        """One draw, of ``log_alpha``'s shape, differentiable where the distribution allows it.

        Args:
            uniform: numbers in [0, 1]; drawn from the global generator unless given.
        """

    @property
    @abstractmethod
    def nonzero_probability(self) -> Tensor:
        """``P(z ≠ 0)`` of each variable, of ``log_alpha``'s shape."""

    def credit(self, z: Tensor, advantage: Tensor) -> Tensor:
        """What hands ``log α`` the gradient of ``E[value]`` that a draw does not carry: ``(N,)``.

        Its value is 0; so is its gradient where :meth:`rsample` is differentiable.

        Args:
            z: a draw.
            advantage: ``(N,)`` the value at the draw, less a baseline that does not depend on it.
        """
        return torch.zeros_like(advantage)

    def expected_l0(self) -> Tensor:
        """``E‖z‖₀`` as a mean over all mask entries: a scalar in [0, 1]."""
        return self.nonzero_probability.mean()

    def _logit(self, uniform: Tensor | None) -> Tensor:
        """``log α`` plus logistic noise: z is 1 in the limit of no temperature where it is > 0."""
        tiny = torch.finfo(self.log_alpha.dtype).eps
        u = torch.rand_like(self.log_alpha) if uniform is None else uniform
        u = u.clamp(tiny, 1 - tiny)
        return u.log() - (-u).log1p() + self.log_alpha


class HardConcrete(MaskDistribution):
    r"""Hard concrete random variables with values in [0, 1] (Louizos et al. 2018; xVAT eq. 11).

    With u uniform on (0, 1), temperature β, and the stretched interval (γ, ζ)::

        z = min(1, max(0, σ((log u − log(1 − u) + log α) / β) (ζ − γ) + γ))

    so that z is exactly 0 or exactly 1 with positive probability and
    ``P(z ≠ 0) = σ(log α − β log(−γ/ζ))``.

    Args:
        log_alpha: location of each variable, any shape.
        temperature: β > 0.
        low: γ < 0.
        high: ζ > 1.

    Raises:
        ValueError: if an argument lies outside the range above.

    Example:
        >>> z = HardConcrete(torch.zeros(4, 1, 8, 8)).rsample()
        >>> z.shape
        torch.Size([4, 1, 8, 8])
    """

    def __init__(
        self,
        log_alpha: Tensor,
        temperature: float = 2 / 3,
        low: float = -0.1,
        high: float = 1.1,
    ) -> None:
        super().__init__(log_alpha)
        self.temperature = checks.number(temperature, "temperature", low=0.0, open_low=True)
        self.low = checks.number(low, "low")
        self.high = checks.number(high, "high")
        if self.low >= 0 or self.high <= 1:
            raise ValueError(f"low must be < 0 and high > 1, got low={low!r}, high={high!r}")

    def rsample(self, uniform: Tensor | None = None) -> Tensor:
        """One reparameterized draw, of ``log_alpha``'s shape.

        Args:
            uniform: the u of the formula, in [0, 1]; drawn from the global generator unless given.
        """
        logit = self._logit(uniform)
        stretched = torch.sigmoid(logit / self.temperature) * (self.high - self.low) + self.low
        return stretched.clamp(0, 1)

    def deterministic(self) -> Tensor:
        """``min(1, max(0, σ(log α) (ζ − γ) + γ))``: what stands for z where nothing is drawn.

        (Louizos et al. 2018, eq. 13.) It is exactly 0 where ``log α ≤ log(−γ/ζ)``.
        """
        stretched = torch.sigmoid(self.log_alpha) * (self.high - self.low) + self.low
        return stretched.clamp(0, 1)

    @property
    def nonzero_probability(self) -> Tensor:
        """``P(z ≠ 0)`` of each variable, of ``log_alpha``'s shape (xVAT eq. 12's second term)."""
        return torch.sigmoid(self.log_alpha - self.temperature * math.log(-self.low / self.high))

    def __repr__(self) -> str:
        return (
            f"HardConcrete(log_alpha={tuple(self.log_alpha.shape)}, "
            f"temperature={self.temperature:g}, low={self.low:g}, high={self.high:g})"
        )


class BinaryConcrete(MaskDistribution):
    r"""``z = σ((log u − log(1 − u) + log α) / β)``: Gumbel-softmax for two classes.

    (Jang et al. 2017; Maddison et al. 2017.) As β → 0 it is Bernoulli with ``P(z = 1) = σ(log α)``,
    which :attr:`nonzero_probability` gives; for β > 0 no entry is ever 0.

    Args:
        log_alpha: location of each variable, any shape.
        temperature: β > 0.
        straight_through: draw the Bernoulli variable with the same u, and lend it this one's
            gradient (Bengio et al. 2013).

    Raises:
        ValueError: if the temperature is not positive.
    """

    def __init__(
        self, log_alpha: Tensor, temperature: float = 2 / 3, straight_through: bool = False
    ) -> None:
        super().__init__(log_alpha)
        self.temperature = checks.number(temperature, "temperature", low=0.0, open_low=True)
        self.straight_through = straight_through

    def rsample(self, uniform: Tensor | None = None) -> Tensor:
        logit = self._logit(uniform)
        soft = torch.sigmoid(logit / self.temperature)
        if not self.straight_through:
            return soft
        return (logit > 0).to(soft.dtype) + (soft - soft.detach())

    @property
    def nonzero_probability(self) -> Tensor:
        return torch.sigmoid(self.log_alpha)


class Bernoulli(MaskDistribution):
    """Binary variables, ``P(z = 1) = σ(log α)``; a draw is a constant.

    The gradient of ``E[value]`` comes from :meth:`credit`: ``advantage · ∂ log P(z) / ∂ log α``,
    which is ``advantage · (z − σ(log α))`` (REINFORCE, Williams 1992).

    Args:
        log_alpha: location of each variable, any shape.
    """

    def rsample(self, uniform: Tensor | None = None) -> Tensor:
        return (self._logit(uniform) > 0).to(self.log_alpha.dtype).detach()

    @property
    def nonzero_probability(self) -> Tensor:
        return torch.sigmoid(self.log_alpha)

    def credit(self, z: Tensor, advantage: Tensor) -> Tensor:
        # log P(z) = −softplus(∓ log α), for z = 1 and 0.
        log_p = -torch.nn.functional.softplus((1 - 2 * z) * self.log_alpha)
        term = advantage.detach() * log_p.flatten(1).sum(1).to(advantage.dtype)
        return term - term.detach()

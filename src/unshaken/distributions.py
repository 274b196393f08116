"""The hard concrete distribution: a differentiable stand-in for a random binary mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unshaken import checks


class HardConcrete:
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
        self.log_alpha = log_alpha
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
        tiny = torch.finfo(self.log_alpha.dtype).eps
        u = torch.rand_like(self.log_alpha) if uniform is None else uniform
        u = u.clamp(tiny, 1 - tiny)
        logit = u.log() - (-u).log1p() + self.log_alpha
        stretched = torch.sigmoid(logit / self.temperature) * (self.high - self.low) + self.low
        return stretched.clamp(0, 1)

    @property
    def nonzero_probability(self) -> Tensor:
        """``P(z ≠ 0)`` of each variable, of ``log_alpha``'s shape (xVAT eq. 12's second term)."""
        return torch.sigmoid(self.log_alpha - self.temperature * math.log(-self.low / self.high))

    def expected_l0(self) -> Tensor:
        """``E‖z‖₀`` as a mean over all mask entries: a scalar in [0, 1]."""
        return self.nonzero_probability.mean()

    def __repr__(self) -> str:
        return (
            f"HardConcrete(log_alpha={tuple(self.log_alpha.shape)}, "
            f"temperature={self.temperature:g}, low={self.low:g}, high={self.high:g})"
        )

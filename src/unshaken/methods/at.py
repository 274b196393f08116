"""Adversarial training: AT."""

from __future__ import annotations

from unshaken.adversaries import SteepestStep
from unshaken.divergences import CrossEntropy
from unshaken.perturbations import Additive
from unshaken.regularizer import Regularizer


class AT(Regularizer):
    """Adversarial training with additive noise (Goodfellow et al. 2015; xVAT eq. 1, 3).

    ``mean_i −log p(y_i | x_i + r_i)`` with ``r = radius · g/‖g‖₂`` (norm 2) or
    ``radius · sign(g)`` (norm ∞), g the gradient of ``−log p(y | x)`` in x.

    Args:
        radius: size of the noise, in units of x.
        norm: 2 or ``math.inf``.
        weight: factor of the term.

    Raises:
        ValueError: on a negative or non-finite radius or weight, or another norm.
    """

    def __init__(
        self,
        radius: float,
        norm: float = 2,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(
            Additive(norm),
            SteepestStep(radius),
            CrossEntropy(),
            weight,
            batch_norm=batch_norm,
            name=name or "at",
            every=every,
        )

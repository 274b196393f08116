"""Adversarial training: AT."""

from __future__ import annotations

from collections.abc import Sequence

from unshaken.adversaries import Adversary, Remembered, SteepestStep
from unshaken.divergences import Loss, as_criterion
from unshaken.perturbations import Additive
from unshaken.ramps import Ramp
from unshaken.regularizer import Regularizer


class AT(Regularizer):
    """Adversarial training with additive noise (Goodfellow et al. 2015; xVAT eq. 1, 3).

    ``mean_i −log p(y_i | x_i + r_i)`` with ``r = radius · g/‖g‖₂`` (norm 2) or
    ``radius · sign(g)`` (norm ∞), g the gradient of ``−log p(y | x)`` in x.

    Args:
        radius: size of the noise, in units of x.
        norm: 2 or ``math.inf``.
        remember: the shape of all training inputs, as ``x_train.shape``: take each example's last
            worst noise and refresh it in the same backward pass, so that a step costs
            little more than a plain one; the term then stands in for the supervised loss
            (:class:`~unshaken.adversaries.Remembered`). Calls need ``index=``.
        weight: factor of the term.
        divergence: the labeled D, by default the cross-entropy with the label.

    Raises:
        ValueError: on a negative or non-finite radius or weight, or another norm.
    """

    def __init__(
        self,
        radius: float | Ramp,
        norm: float = 2,
        weight: float = 1.0,
        *,
        remember: Sequence[int] | None = None,
        divergence: Loss | None = None,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        noise = Additive(norm)
        adversary: Adversary = (
            SteepestStep(radius) if remember is None else Remembered.of(noise, radius, remember)
        )
        super().__init__(
            noise,
            adversary,
            as_criterion(divergence, "divergence"),
            weight,
            batch_norm=batch_norm,
            name=name or "at",
            every=every,
        )

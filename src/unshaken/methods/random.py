"""Random perturbations: the control."""

from __future__ import annotations

from unshaken.adversaries import Random as RandomAdversary
from unshaken.divergences import KL, Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.ramps import Ramp
from unshaken.regularizer import Regularizer


class Random(Regularizer):
    """Random perturbations of a given size, the control for every adversary.

    ``mean_i D(f(x_i), f(P(x_i, a)))`` with a uniform among parameters of size ``radius``
    (pseudo-ensembles, Bachman et al. 2014).

    Args:
        perturbation: any perturbation, for example ``perturbations.Additive(2)``.
        radius: its size; for a mask the share of entries erased.
        divergence: by default the KL divergence from the clean prediction.
        weight: factor of the term.
    """

    def __init__(
        self,
        perturbation: Perturbation,
        radius: float | Ramp,
        divergence: Divergence | None = None,
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(
            perturbation,
            RandomAdversary(radius),
            KL() if divergence is None else divergence,
            weight,
            batch_norm=batch_norm,
            name=name or "random",
            every=every,
        )

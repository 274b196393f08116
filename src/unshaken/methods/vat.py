"""Virtual adversarial training: VAT."""

from __future__ import annotations

from unshaken.adversaries import PowerIteration
from unshaken.divergences import KL
from unshaken.perturbations import Additive
from unshaken.ramps import Ramp
from unshaken.regularizer import Regularizer


class VAT(Regularizer):
    """Virtual adversarial training (Miyato et al. 2016, 2018; xVAT eq. 2, 4). Needs no labels.

    ``mean_i KL[p(·|x_i) ‖ p(·|x_i + r_i)]`` with r of Euclidean length ``radius`` along the top
    eigenvector of the divergence's Hessian, by power iteration.

    Args:
        radius: length of r, in units of x.
        steps: power iterations (the papers' 1).
        direction: ``"difference"`` (finite difference, its step from the data type) or ``"exact"``
            (Hessian-vector products).
        divergence: ``"kl"`` as above, or ``"reverse-kl"``.
        weight: factor of the term.

    Raises:
        ValueError: on a negative or non-finite radius or weight, steps < 1, or unknown options.

    Example:
        >>> vat = VAT(radius=2.0)
        >>> loss = F.cross_entropy(model(x), y) + vat(model, x)
    """

    def __init__(
        self,
        radius: float | Ramp,
        steps: int = 1,
        direction: str = "difference",
        divergence: str = "kl",
        weight: float = 1.0,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
    ) -> None:
        super().__init__(
            Additive(2),
            PowerIteration(radius, steps, direction),
            KL.named(divergence),
            weight,
            batch_norm=batch_norm,
            name=name or "vat",
            every=every,
        )

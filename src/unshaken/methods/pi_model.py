"""The Π-model."""

from __future__ import annotations

from unshaken.adversaries.base import Penalty
from unshaken.methods.consistency import Consistency, live, probabilities, squared_distance
from unshaken.passes import CleanPass
from unshaken.regularizer import Found


class PiModel(Consistency):
    """Two evaluations of an input under different noise should agree (Laine & Aila 2017, eq. 1).

    ``mean_i mean_c (p_c(x_i) − p_c(x_i + η_i))²`` with fresh Gaussian noise η and fresh dropout
    masks in the second pass; the gradient flows through both. Label-free. Published with a weight
    that ramps up over the first 80 of 300 epochs (``ramp=``) and noise of 0.15.

    Args:
        weight, noise: see :class:`~unshaken.methods.consistency.Consistency`.

    Example:
        >>> pi = PiModel(weight=10.0, noise=0.15, ramp=2000)
        >>> loss = F.cross_entropy(model(x), y) + pi(model, u)
    """

    def __init__(
        self,
        weight: float = 1.0,
        noise: float = 0.15,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(
            weight, noise, batch_norm=batch_norm, name=name or "pi-model", every=every, ramp=ramp
        )

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal = live(clean)
        q = probabilities(clean.anew(self.noisy(clean.x)))
        return Penalty(squared_distance(probabilities(signal), q), None, signal)

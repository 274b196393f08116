"""Stochastic transformations and perturbations, with mutual exclusivity."""

from __future__ import annotations

from itertools import combinations

import torch

from unshaken import checks
from unshaken.adversaries.base import Penalty
from unshaken.methods.consistency import Consistency, live, probabilities
from unshaken.passes import CleanPass
from unshaken.regularizer import Found


class StochasticTransformations(Consistency):
    """Several noisy evaluations should agree, and each should choose (Sajjadi et al. 2016).

    ``Σ_{j<k} Σ_c (p_c^j − p_c^k)² + exclusivity (1 − mean_j Σ_c p_c^j Π_{d≠c} (1 − p_d^j))`` over
    ``passes`` evaluations with noise and dropout masks of their own (eq. 1, 2; the 1 only makes the
    least value zero). The gradient flows
    through all of them. Label-free. Published: 4 or 5 passes, exclusivity 0.1 of the agreement.

    Args:
        passes: evaluations of each input, the clean one among them, at least 2.
        exclusivity: factor of the mutual exclusivity.
        weight, noise: see :class:`~unshaken.methods.consistency.Consistency`.
    """

    def __init__(
        self,
        passes: int = 4,
        exclusivity: float = 0.1,
        weight: float = 1.0,
        noise: float = 0.15,
        *,
        batch_norm: str = "batch",
        name: str = "",
        every: int = 1,
        ramp: int = 0,
    ) -> None:
        super().__init__(
            weight, noise, batch_norm=batch_norm, name=name or "stochastic", every=every, ramp=ramp
        )
        self.passes = checks.integer(passes, "passes", low=2)
        self.exclusivity = checks.number(exclusivity, "exclusivity", low=0.0)

    def penalize(self, clean: CleanPass, found: Found | None = None) -> Penalty:
        signal = live(clean)
        others = [probabilities(clean.anew(self.noisy(clean.x))) for _ in range(self.passes - 1)]
        every = torch.stack([probabilities(signal), *others])
        apart = sum(
            (every[j] - every[k]).square().sum(1) for j, k in combinations(range(self.passes), 2)
        )
        # Π_{d≠c} (1 − p_d) without a division: the products before and behind each class.
        rest = 1 - every
        ones = torch.ones_like(rest[:, :, :1])
        before = torch.cat([ones, rest[:, :, :-1]], 2).cumprod(2)
        behind = torch.cat([rest[:, :, 1:], ones], 2).flip(2).cumprod(2).flip(2)
        sure = (every * before * behind).sum(2).mean(0)
        value = apart + self.exclusivity * (1 - sure)
        return Penalty(value.flatten(1).mean(1) if value.dim() > 1 else value, None, signal)

    def extra_repr(self) -> str:
        return f"passes={self.passes}, exclusivity={self.exclusivity:g}, {super().extra_repr()}"

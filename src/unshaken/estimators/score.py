"""REINFORCE: the gradient of the draw's log-probability, weighted by its value. Unbiased."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.distributions import Bernoulli
from unshaken.estimators.base import Estimator, Function, values_of

BASELINES = ("leave-one-out", "none")


class Reinforce(Estimator):
    """``mean_k (f(z_k) − b_k) (z_k − σ(log α))`` (Williams 1992).

    f is evaluated at binary masks only and need not be differentiable.

    Args:
        baseline: ``"leave-one-out"`` takes the mean of f over the other draws for b_k, which keeps
            the mean (Kool et al. 2019; from two draws on, else b = 0); ``"none"`` takes 0.
    """

    unbiased = True
    differentiates = False

    def __init__(self, baseline: str = "leave-one-out") -> None:
        super().__init__()
        self.baseline = checks.choice(baseline, "baseline", BASELINES)

    def gradient(self, f: Function, log_alpha: Tensor, draws: int) -> Tensor:
        distribution = Bernoulli(log_alpha)
        with torch.no_grad():
            z = [distribution.rsample() for _ in range(draws)]
            values = torch.stack([values_of(f, each) for each in z])
            advantages = values
            if self.baseline == "leave-one-out" and draws > 1:
                advantages = (values - values.mean(0)) * (draws / (draws - 1))
            p = distribution.nonzero_probability
            shape = (draws, len(log_alpha), *[1] * (log_alpha.dim() - 1))
            return (advantages.reshape(shape) * (torch.stack(z) - p)).mean(0)

    def once(self, f: Function, log_alpha: Tensor, *, fitting: bool = False) -> Tensor:
        return self.gradient(f, log_alpha, 1)

    def extra_repr(self) -> str:
        return f"baseline={self.baseline!r}"

"""The worst of several random perturbations: no gradient is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries.base import Adversary, Problem
from unshaken.autograd import per_example
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp


class WorstOf(Adversary):
    """For each example the worst of ``draws`` random perturbations of one size.

    ``a = argmax_k D(f(x), f(P(x, a_k)))`` over random ``a_k`` (worst-of-k, Engstrom et al. 2019).
    It goes round what a gradient can be wrong about (a mask far from the one where it was taken),
    is never far from random, and costs a forward pass for each draw. Works with every perturbation
    and divergence, for example ``XVAT(WorstOf(0.3))``.

    Args:
        radius: size of the perturbation; for a mask the share of entries (blocks) erased.
        draws: how many, ≥ 1; one is the random control.
    """

    def __init__(self, radius: float | Ramp, draws: int = 4) -> None:
        super().__init__()
        self.take_radius(radius)
        self.draws = checks.integer(draws, "draws")

    def find(self, problem: Problem) -> Tensor:
        perturbation, x = problem.perturbation, problem.x
        with torch.no_grad():
            found = perturbation.random(x, self.radius)
            if self.draws == 1:
                return found
            target = problem.target()
            reached = self._value(problem, found, target)
            for _ in range(self.draws - 1):
                other = perturbation.random(x, self.radius)
                value = self._value(problem, other, target)
                found = torch.where(per_example(value > reached, found), other, found)
                reached = torch.maximum(value, reached)
        return found

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if isinstance(perturbation, Mask) and self.largest_radius > 1:
            raise ValueError(
                f"radius must be the share of mask entries to erase, in 0..1, "
                f"got {self.largest_radius:g}"
            )

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}, draws={self.draws}"

    def _value(self, problem: Problem, a: Tensor, target: Tensor) -> Tensor:
        return problem.divergence(problem.clean.again(problem.perturbation(problem.x, a)), target)

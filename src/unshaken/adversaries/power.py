"""Power iteration on the curvature: VAT."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries import curvature
from unshaken.adversaries.base import Adversary, Problem
from unshaken.autograd import narrowed
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp

DIRECTIONS = ("difference", "exact")


class PowerIteration(Adversary):
    """The direction of largest curvature of a label-free divergence, by power iteration.

    From a random direction d of size 1, ``steps`` times: ``d ← Tᵀ H T d``, scaled back to size 1,
    with H the Hessian of ``D(f(x), f(x + r))`` at ``r = 0`` and T the perturbation's tangent map;
    then ``a = radius · d`` (VAT, Miyato et al. 2018; xVAT eq. 4).

    Args:
        radius: size of the perturbation.
        steps: power iterations; each costs one forward and one input-gradient pass.
        direction: how ``J T d`` is found in ``H T d = Jᵀ (∂²D) J T d``: ``"difference"`` of the
            outputs a small step away, its length from the data type; or ``"exact"``, by one
            forward-mode pass, which also holds in half precision.

    Draws its start from torch's global generator of the input's device.
    """

    needs = "linearization"

    def __init__(self, radius: float | Ramp, steps: int = 1, direction: str = "difference") -> None:
        super().__init__()
        self.take_radius(radius)
        self.steps = checks.integer(steps, "steps")
        self.direction = checks.choice(direction, "direction", DIRECTIONS)

    def find(self, problem: Problem) -> Tensor:
        perturbation, x = problem.perturbation, problem.x
        with torch.no_grad():
            a = perturbation.random(x, 1.0)
            for step in range(self.steps):
                tangent = perturbation.tangent(x, a)
                last = step == self.steps - 1
                slope = curvature.product(
                    problem, tangent, exact=self.direction == "exact", last=last
                )
                size = self.radius if last else 1.0
                s = perturbation.pull_back(x, narrowed(slope, x.dtype))
                a = perturbation.steepest(x, s, size)
        return a

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if divergence.labeled:
            raise ValueError(
                "PowerIteration needs a divergence from the clean prediction, whose gradient "
                f"vanishes there, but {type(divergence).__name__} uses labels; use SteepestStep"
            )
        if isinstance(perturbation, Mask):
            raise ValueError(
                "PowerIteration has no ball for a Mask; use Relative or masks.Steepest"
            )

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}, steps={self.steps}, direction={self.direction!r}"

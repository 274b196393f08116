"""Steps along the gradient: AT and MAT."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries.ascent import climb
from unshaken.adversaries.base import Adversary, Problem
from unshaken.autograd import narrowed
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp


class SteepestStep(Adversary):
    """``a = argmax ⟨s, a⟩`` over ``‖a‖ ≤ radius``, with s the gradient of D in a at no change.

    For additive noise this is ``radius · g/‖g‖₂`` or ``radius · sign(g)`` (xVAT eq. 3); for
    movements ``radius · G⁻¹ s / √(sᵀ G⁻¹ s)``. It needs a divergence from the label: from the
    clean prediction the gradient vanishes.

    Args:
        radius: size of the perturbation.
        steps: how many steps; those after the first take the gradient at the input as perturbed so
            far and cost a forward and an input-gradient pass each, and together one more forward
            pass: the best a on the way is kept (:class:`Ascent`).
    """

    needs = "input"

    def __init__(self, radius: float | Ramp, steps: int = 1) -> None:
        super().__init__()
        self.take_radius(radius)
        self.steps = checks.integer(steps, "steps")

    def find(self, problem: Problem) -> Tensor:
        g = problem.input_gradient()
        with torch.no_grad():
            s = problem.perturbation.pull_back(problem.x, narrowed(g, problem.x.dtype))
            a = problem.perturbation.steepest(problem.x, s, self.radius)
        return climb(problem, a, self.radius, self.steps - 1, keep=True)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if not divergence.labeled:
            raise ValueError(
                f"SteepestStep with {type(divergence).__name__} finds nothing: a divergence from "
                "the clean prediction has zero gradient there; use PowerIteration, TopEigenvector "
                "or CrossEntropy"
            )
        if isinstance(perturbation, Mask):
            raise ValueError("SteepestStep has no radius for a Mask; use masks.Steepest(keep)")

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}" + (f", steps={self.steps}" if self.steps > 1 else "")

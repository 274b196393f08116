"""One step along the gradient: AT and MAT."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries.base import Adversary, Problem
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask


class SteepestStep(Adversary):
    """``a = argmax ⟨s, a⟩`` over ``‖a‖ ≤ radius``, with s the gradient of D in a at no change.

    For additive noise this is ``radius · g/‖g‖₂`` or ``radius · sign(g)`` (xVAT eq. 3); for
    movements ``radius · G⁻¹ s / √(sᵀ G⁻¹ s)``. It needs a divergence from the label: from the
    clean prediction the gradient vanishes.
    """

    needs = "input"

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = checks.radius(radius)

    def find(self, problem: Problem) -> Tensor:
        g = problem.input_gradient()
        with torch.no_grad():
            s = problem.perturbation.pull_back(problem.x, g.to(problem.x.dtype))
            return problem.perturbation.steepest(problem.x, s, self.radius)

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
        return f"radius={self.radius:g}"

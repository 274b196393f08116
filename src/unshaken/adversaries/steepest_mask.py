"""The worst mask of a given number of erased entries, entry by entry to first order."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries.base import Adversary, Problem
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask, require_mask


class SteepestMask(Adversary):
    """Erases the entries whose removal raises the divergence most, to first order, under a budget.

    ``z ← argmin ⟨∂D/∂z, z'⟩`` over the binary masks that erase the given share: the gain of
    erasing entry j is ``−∂D/∂z_j = −Σ_c g_cj x_cj``. For a divergence from the label the first
    step's g is the clean gradient; from the clean prediction, whose gradient vanishes there, it
    starts at a random mask of the same budget. Each further step takes g at the mask before it:
    where D is convex in the mask, as it is to second order about the clean input, no step lowers
    it (the generalized power method of Journée et al. 2010, on binary masks). A step away from the
    clean input costs one forward and one input-gradient pass.

    Where the perturbation has blocks, whole blocks are erased and their entries' gains add up.

    Args:
        keep: the share of entries (blocks) that stay, in (0, 1].
        steps: how often a mask is chosen.
    """

    needs = "input"

    def __init__(self, keep: float, steps: int = 1) -> None:
        super().__init__()
        self.keep = checks.number(keep, "keep", low=0.0, high=1.0, open_low=True)
        self.steps = checks.integer(steps, "steps")
        self.radius = 1 - self.keep

    def find(self, problem: Problem) -> Tensor:
        mask, x, clean = require_mask(problem.perturbation), problem.x, problem.clean
        labeled = problem.divergence.labeled
        g = problem.input_gradient() if labeled else None
        with torch.no_grad():
            z = mask.random(x, self.radius) if g is None else self._against(mask, x, g)
            for _ in range(self.steps - labeled):
                g = clean.slope(problem.divergence, mask(x, z), problem.target())
                z = self._against(mask, x, g)
        return z

    def _against(self, mask: Mask, x: Tensor, g: Tensor) -> Tensor:
        return mask.steepest(x, mask.pull_back(x, g.to(x.dtype)), self.radius)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        require_mask(perturbation)

    def extra_repr(self) -> str:
        return f"keep={self.keep:g}" + (f", steps={self.steps}" if self.steps > 1 else "")

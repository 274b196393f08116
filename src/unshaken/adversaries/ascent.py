"""Ascent at finite size: the gradient is taken where the input has moved to."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks
from unshaken.adversaries.base import Adversary, Problem
from unshaken.autograd import flat, per_example
from unshaken.divergences import Divergence
from unshaken.passes import reached
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp


class Ascent(Adversary):
    """From a random a of size ``radius``, ``steps`` times ``a ← argmax ⟨∂D(f(P(x, a)))/∂a, a'⟩``
    over ``‖a'‖ ≤ radius``.

    A projected gradient step of infinite length, or a power iteration at finite size: it agrees
    with :class:`PowerIteration` as the radius goes to zero and raises D in each step where D is
    convex in a. Elsewhere a step may go too far, so of several the best a on the way is kept, for
    each example. Each step costs a forward and an input-gradient pass, several of them one more
    forward pass; no clean graph is needed. Works for every perturbation with a ball and every
    divergence, from labels or the clean prediction.

    Args:
        radius: size of the perturbation.
        steps: how many.

    Draws its start from torch's global generator of the input's device. Where the gradient
    vanishes the start stays.
    """

    def __init__(self, radius: float | Ramp, steps: int = 1) -> None:
        super().__init__()
        self.take_radius(radius)
        self.steps = checks.integer(steps, "steps")

    def find(self, problem: Problem) -> Tensor:
        with torch.no_grad():
            a = problem.perturbation.random(problem.x, self.radius)
        return climb(problem, a, self.radius, self.steps, keep=self.steps > 1)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if isinstance(perturbation, Mask):
            raise ValueError("Ascent has no ball for a Mask; use Relative or masks.Steepest")

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}, steps={self.steps}"


def climb(problem: Problem, a: Tensor, radius: float, steps: int, *, keep: bool) -> Tensor:
    """``a`` after so many steps, each along the gradient at the input as perturbed by a.

    With ``keep`` the best that was met on the way, the first included.
    """
    if not steps:
        return a
    perturbation, x, target = problem.perturbation, problem.x, problem.target()
    best, most = a, torch.full_like(x.flatten(1)[:, 0], -torch.inf)
    for k in range(steps + keep):
        last = k == steps
        with torch.set_grad_enabled(not last):
            leaf = a.detach().requires_grad_(not last)
            value = problem.divergence(problem.clean.again(perturbation(x, leaf)), target)
            total = value.sum()
        with torch.no_grad():
            better = value > most
            best = torch.where(per_example(better, a), a, best)
            most = torch.where(better, value.to(most.dtype), most)
            if last:
                return best
            (slope,) = torch.autograd.grad(total, leaf, allow_unused=True)
            found = perturbation.steepest(x, reached(slope), radius)
            a = torch.where(per_example(flat(found).any(1), found), found, a)
    return a

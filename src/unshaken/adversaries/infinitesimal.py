"""The worst perturbation as its size goes to zero, in closed form: VMT."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import checks, draws
from unshaken.adversaries.base import Adversary, Penalty, Problem
from unshaken.autograd import full_precision, normalize, per_example, safe_norm
from unshaken.divergences import Divergence
from unshaken.gradients import known_slope
from unshaken.perturbations.additive import Additive
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.perturbations.movement import Movement

GRADIENTS = ("raw", "unit", "unit-detached")


class Infinitesimal(Adversary):
    """The rate ``R = max |dL/dε|`` at which the worst perturbation of size ε raises the loss.

    With ``g = ∂L/∂x`` of each example's own loss and s its gradient in the perturbation's
    parameters, ``R = max ⟨s, a⟩`` over size 1; for movements ``R = √(sᵀ G⁻¹ s)`` (VMT eq. 8-15).
    No perturbed input is made: the term is differentiated through g (double backward).

    Args:
        gradient: ``"raw"`` uses g; ``"unit"`` g/‖g‖, differentiated through the norm (VMT section
            2.4 to the letter); ``"unit-detached"`` g/‖g‖ with the norm as a constant, whose force
            on the model grows as 1/‖g‖ when g fades.
        mixture: several field families give ``Σ w_i R_i / Σ w_i`` with fresh weights
            ``w_i ~ U(0, 1)`` in each call (VMT eq. 23, drawn from torch's global generator of the
            input's device); otherwise they form one joint family.
    """

    needs = "input-graph"
    searches = False

    def __init__(self, gradient: str = "raw", mixture: bool = False) -> None:
        super().__init__()
        self.gradient = checks.choice(gradient, "gradient", GRADIENTS)
        self.mixture = mixture

    def find(self, problem: Problem) -> Tensor:
        g = problem.input_gradient()
        with torch.no_grad():
            s = problem.perturbation.pull_back(problem.x.to(g.dtype), g)
            return problem.perturbation.steepest(problem.x, s, 1.0)

    def penalty(self, problem: Problem, a: Tensor | None = None) -> Penalty:
        g = problem.input_gradient(create_graph=True)
        perturbation, x = problem.perturbation, problem.clean.x.to(g.dtype)
        with full_precision(x.device):
            used = self._treated(g)
            if x.requires_grad:
                # R depends on x itself too, through the image derivative.
                value, a = self._rate(perturbation, x, perturbation.pull_back(x, used))
            else:
                with torch.no_grad():
                    s = perturbation.pull_back(x, used)
                    value, a = self._rate(perturbation, x, s)
                # R is the largest ⟨g, T a⟩, so where it is reached its gradient in g is T a.
                value = known_slope(value, used, perturbation.tangent(x, a))
        return Penalty(value, a, g)

    def _rate(self, perturbation: Perturbation, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """R ``(N,)`` and the parameters of size 1 that reach it."""
        if self.mixture and isinstance(perturbation, Movement):
            return self._mixed(perturbation, x, s)
        return perturbation.rate(x, s), perturbation.steepest(x.detach(), s.detach(), 1.0)

    def _treated(self, g: Tensor) -> Tensor:
        if self.gradient == "raw":
            return g
        if self.gradient == "unit":
            return normalize(g)
        norm = safe_norm(g.detach())
        # One division by the norm could overflow where it is tiny, so the largest entry goes first.
        largest = g.detach().flatten(1).abs().amax(1)
        zero = norm == 0
        first = torch.where(zero, 1, largest)
        second = torch.where(zero, 1, norm / first)
        return g / per_example(first, g) / per_example(second, g)

    def _mixed(self, movement: Movement, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 23: the mixed rate, and the mixed field whose rate it is."""
        families = movement.families()
        drawn = draws.common(len(families), s.dtype, s.device)
        weights = draws.to_rows(torch.stack([w / w.sum() for w in drawn]), len(s))
        total = torch.zeros_like(s[:, 0])
        found = []
        slices = s.split(movement.geometry(x).counts, 1)
        for weight, family, part in zip(weights.unbind(1), families, slices, strict=True):
            total = total + weight * family.rate(x, part)
            found.append(weight.unsqueeze(1) * family.steepest(x, part.detach(), 1.0))
        return total, torch.cat(found, 1)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if not divergence.labeled:
            raise ValueError(
                f"Infinitesimal with {type(divergence).__name__} is identically zero: a divergence "
                "from the clean prediction has no first-order term; use CrossEntropy, or MVAT for "
                "unlabeled data"
            )
        if isinstance(perturbation, Mask):
            raise ValueError("Infinitesimal needs Additive, Relative or Movement, got Mask")
        if (
            isinstance(perturbation, Additive)
            and perturbation.norm == 2
            and self.gradient == "unit"
        ):
            raise ValueError(
                "Infinitesimal(gradient='unit') with Additive(2) is the constant 1: the norm of a "
                "unit gradient; use gradient='raw'"
            )

    def extra_repr(self) -> str:
        return f"gradient={self.gradient!r}" + (", mixture=True" if self.mixture else "")

"""The control: a random perturbation of the same size."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken.adversaries.base import Adversary, Problem
from unshaken.divergences import Divergence
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.mask import Mask
from unshaken.ramps import Ramp


class Random(Adversary):
    """Draws the perturbation at random, at exactly the size its rivals have.

    For a ball of norm 2 a uniform direction of length ``radius``; for norm ∞ random signs times
    ``radius``; for movements a uniform direction among fields of RMS displacement ``radius``; for
    masks a random ``radius`` share of the entries is erased (pseudo-ensembles, Bachman et al.
    2014).

    Draws from torch's global generator of the input's device.
    """

    random = True

    def __init__(self, radius: float | Ramp) -> None:
        super().__init__()
        self.take_radius(radius)

    def find(self, problem: Problem) -> Tensor:
        with torch.no_grad():
            return problem.perturbation.random(problem.x, self.radius)

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        if isinstance(perturbation, Mask) and self.largest_radius > 1:
            raise ValueError(
                f"radius must be the share of mask entries to erase, in 0..1, "
                f"got {self.largest_radius:g}"
            )

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}"

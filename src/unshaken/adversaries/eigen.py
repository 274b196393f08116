"""The worst movement of a label-free divergence, in closed form: MVAT."""

from __future__ import annotations

import torch
from torch import Tensor

from unshaken import draws
from unshaken.adversaries.base import Adversary, Problem
from unshaken.adversaries.curvature import response
from unshaken.autograd import full_precision, per_example
from unshaken.divergences import Divergence
from unshaken.passes import reached
from unshaken.perturbations.base import Perturbation
from unshaken.perturbations.movement import Movement
from unshaken.ramps import Ramp


class TopEigenvector(Adversary):
    """The top eigenvector of the K×K curvature of D in the coefficients of a movement.

    To second order ``D ≈ ½ aᵀ M a`` with ``M_kl = (J T_k)ᵀ (∂²D) (J T_l)``: T_k is the change of
    the input under field k, J the model's Jacobian. The worst a of RMS displacement ``radius``
    solves ``M a = μ G a``. The sign, which M leaves open, is drawn at random for each example.

    On a GPU each call waits for the device: ``eigh`` reads its status.

    It costs min(K, number of outputs) passes over the network: K forward ones, the responses
    ``J T_k`` by difference, or one input gradient for each output. For many fields and outputs use
    :class:`PowerIteration`.
    """

    needs = "linearization"

    def __init__(self, radius: float | Ramp) -> None:
        super().__init__()
        self.take_radius(radius)

    def find(self, problem: Problem) -> Tensor:
        movement = self._movement(problem.perturbation)
        clean = problem.clean
        with torch.no_grad(), full_precision(clean.x.device):
            x = clean.full_input
            logits = clean.full_logits
            fields = movement.shape(x)[1]
            outputs = logits[0].numel()
            if fields <= outputs:
                responses = self._by_fields(problem, movement, x, fields)
            else:
                responses = self._by_outputs(problem, movement, x, logits)
            weighted = torch.stack(
                [problem.divergence.curvature(logits, r) for r in responses.unbind(1)], 1
            )
            responses = responses.to(weighted.dtype)
            shape = (*responses.shape[:2], -1)
            matrix = responses.reshape(shape) @ weighted.reshape(shape).transpose(1, 2)
            whitener = movement.geometry(x).whitener.to(matrix.dtype)
            matrix = whitener.T @ matrix @ whitener
            # Scaled to 1 so that confident examples keep their direction in float32.
            largest = matrix.abs().amax((1, 2), keepdim=True)
            matrix = torch.nan_to_num(matrix / torch.where(largest > 0, largest, 1))
            top = torch.linalg.eigh((matrix + matrix.transpose(1, 2)) / 2).eigenvectors[..., -1]
            return movement.from_unit(x, self.radius * _signs(x) * top)

    def _by_fields(self, problem: Problem, movement: Movement, x: Tensor, fields: int) -> Tensor:
        """``J T_k`` for every field k, by difference: ``(N, K, *outputs)``."""
        units = torch.eye(fields, dtype=x.dtype, device=x.device)
        found = []
        for unit in units:
            # Were all examples to move alike, batch statistics would cancel part of the response.
            sign = _signs(x)
            change = response(problem, movement.tangent(x, sign * unit))
            found.append(change * per_example(sign.flatten().to(change.dtype), change))
        return torch.stack(found, 1)

    def _by_outputs(
        self, problem: Problem, movement: Movement, x: Tensor, logits: Tensor
    ) -> Tensor:
        """The same from one input gradient for each output."""
        leaf, outputs = problem.clean.linearization()
        with torch.enable_grad():
            sums = outputs.reshape(len(x), -1).sum(0).unbind()
        found = [
            movement.pull_back(x, reached(slope))
            for total in sums
            for slope in torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
        ]
        return torch.stack(found, 2).reshape(len(x), -1, *logits.shape[1:])

    def check(self, perturbation: Perturbation, divergence: Divergence) -> None:
        self._movement(perturbation)
        if divergence.labeled:
            raise ValueError(
                f"TopEigenvector needs a divergence from the clean prediction; "
                f"{type(divergence).__name__} compares with labels: use SteepestStep"
            )

    def _movement(self, perturbation: Perturbation) -> Movement:
        if not isinstance(perturbation, Movement):
            raise ValueError(
                "TopEigenvector solves a K×K problem and needs a Movement with K fields, got "
                f"{type(perturbation).__name__}: use PowerIteration"
            )
        return perturbation

    def extra_repr(self) -> str:
        return f"radius={self.radius_text}"


def _signs(x: Tensor) -> Tensor:
    """−1 or 1 for each example: ``(N, 1)``."""
    return torch.where(draws.uniform((len(x), 1), x.dtype, x.device) < 0.5, -1, 1).to(x.dtype)

"""Products with the curvature of a divergence in the input, exact and by difference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unshaken.adversaries.base import Problem
from unshaken.autograd import full_precision
from unshaken.passes import difference_step


def by_difference(problem: Problem, tangent: Tensor) -> Tensor:
    """``∂D/∂x`` at ``x + ξ t``, which is ``ξ H t`` up to the third order in ξ: of ``x``'s shape.

    H is the Hessian of the divergence in the input at the clean input, where D and its gradient
    vanish. In full precision also under autocast; ξ follows from the data type.
    """
    clean = problem.clean
    with full_precision(clean.x.device):
        x = problem.x.float() if clean.autocast else problem.x
        target = problem.divergence.target(clean.full_logits, clean.y)
        step = difference_step(x.dtype) * input_scale(x)
        return clean.slope(problem.divergence, x + step * tangent.to(x.dtype), target)


def exact(problem: Problem, tangent: Tensor) -> Tensor:
    """``H t = Jᵀ (∂²D/∂f²) J t``: one forward-mode and one reverse-mode product, no step size."""
    outputs, response, leaf = forward_product(problem, tangent)
    cotangent = problem.divergence.curvature(outputs, response)
    (product,) = torch.autograd.grad(outputs, leaf, cotangent.to(outputs.dtype))
    return product


def forward_product(problem: Problem, tangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs, ``J t`` as a constant, and the leaf that the outputs depend on."""
    with torch.enable_grad(), forward_ad.dual_level():
        leaf = problem.x.clone().requires_grad_()
        outputs = problem.clean.again(forward_ad.make_dual(leaf, tangent.to(leaf.dtype)))
        primal, response = forward_ad.unpack_dual(outputs)
    if response is None:
        raise ValueError("model gives outputs that do not depend on x; nothing can perturb them")
    return primal, response.detach(), leaf


def input_scale(x: Tensor) -> float:
    return 1.0

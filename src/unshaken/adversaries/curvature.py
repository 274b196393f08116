"""How the outputs answer a change of the input, and products with the curvature of D.

At the clean input a label-free divergence and its gradient vanish, so to second order
``D ≈ ½ tᵀ H t`` with ``H = Jᵀ (∂²D/∂f²) J``: the model's Jacobian J and the divergence's own
curvature in the outputs are all that is needed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unshaken.adversaries.base import Problem
from unshaken.autograd import flat, full_precision


def product(problem: Problem, tangent: Tensor, *, exact: bool = False, last: bool = True) -> Tensor:
    """``H t`` up to a positive factor for each example, of ``x``'s shape.

    ``J t`` comes from a finite difference of the outputs, or from one forward-mode pass where
    ``exact``; ``Jᵀ`` is one input-gradient pass through the clean pass. In full precision also
    under autocast. After the ``last`` product the graph it needed is let go.
    """
    clean = problem.clean
    with full_precision(clean.x.device):
        if exact:
            response = forward_response(problem, tangent)
            leaf, outputs = clean.linearization()
        else:
            x = clean.full_input
            step = difference_step(x, tangent)
            if clean.can_linearize:
                leaf, outputs = clean.linearization()
                with torch.no_grad():
                    moved = clean.again(x + step * tangent.to(x.dtype))
            else:
                # The caller's outputs have no graph in x: take Jᵀ a step away, which costs nothing.
                with torch.enable_grad():
                    leaf = (x + step * tangent.to(x.dtype)).detach().requires_grad_()
                    outputs = moved = clean.again(leaf)
            response = moved.detach() - clean.full_logits
        cotangent = problem.divergence.curvature(clean.full_logits, response)
        (found,) = torch.autograd.grad(
            outputs,
            leaf,
            cotangent.to(outputs.dtype),
            retain_graph=exact or clean.can_linearize,
            allow_unused=True,
        )
        if last:
            clean.forget_linearization()
    return torch.zeros_like(leaf) if found is None else found


def response(problem: Problem, tangent: Tensor) -> Tensor:
    """``J t`` by a finite difference of the outputs: ``(N, *outputs)``."""
    clean = problem.clean
    with torch.no_grad(), full_precision(clean.x.device):
        x = clean.full_input
        step = difference_step(x, tangent)
        difference = clean.again(x + step * tangent.to(x.dtype)) - clean.full_logits
        return difference / step


def forward_response(problem: Problem, tangent: Tensor) -> Tensor:
    """``J t`` by one forward-mode pass, whose outputs also serve as the clean pass."""
    clean = problem.clean
    with full_precision(clean.x.device), forward_ad.dual_level():
        _, dual = clean.linearization(tangent)
        found = forward_ad.unpack_dual(dual).tangent
    return torch.zeros_like(dual) if found is None else found.detach()


def difference_step(x: Tensor, tangent: Tensor) -> Tensor:
    """Step ξ with ``‖ξ t‖ = ½ √ε · spread`` in the mean over the batch: a scalar.

    ε is the rounding unit of the data type and the spread the Euclidean norm of a typical example
    about the batch's mean entry: on rectifier networks of any input scale this balances rounding
    against the kinks that a longer step crosses.
    """
    deviation = (x - x.mean()).square().mean().sqrt()
    spread = torch.where(deviation > 0, deviation, 1) * math.sqrt(x[0].numel())
    # One length for all examples: batch statistics couple them.
    length = flat(tangent).square().sum(1).mean().sqrt()
    return 0.5 * math.sqrt(torch.finfo(x.dtype).eps) * spread / torch.where(length > 0, length, 1)

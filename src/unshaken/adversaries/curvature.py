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

from unshaken import draws
from unshaken.adversaries.base import Problem
from unshaken.autograd import flat, full_precision, per_example
from unshaken.passes import CleanPass, reached


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
            if clean.can_linearize:
                leaf, outputs = clean.linearization()
                with torch.no_grad():
                    moved = clean.again(x + _step(clean, tangent))
            else:
                # The caller's outputs have no graph in x: take Jᵀ a step away, which costs nothing.
                with torch.enable_grad():
                    leaf = (x + _step(clean, tangent)).detach().requires_grad_()
                    outputs = moved = clean.again(leaf)
            response = moved.detach() - clean.full_logits
        cotangent = problem.divergence.curvature(clean.full_logits, response)
        if outputs.dtype == torch.float16:
            # One factor for all examples, which batch norm may couple.
            largest = cotangent.abs().amax()
            cotangent = cotangent / torch.where(largest > 0, largest, 1)
        (found,) = torch.autograd.grad(
            outputs,
            leaf,
            cotangent.to(outputs.dtype),
            retain_graph=exact or clean.can_linearize,
            allow_unused=True,
        )
        if last:
            clean.forget_linearization()
    return reached(found)


def response(problem: Problem, tangent: Tensor) -> Tensor:
    """``J t`` by a finite difference of the outputs: ``(N, *outputs)``."""
    clean = problem.clean
    with torch.no_grad(), full_precision(clean.x.device):
        x = clean.full_input
        step = difference_step(x, tangent, rounding(x, clean.full_logits))
        moved = clean.again(x + per_example(step, x) * tangent.to(x.dtype))
        difference = moved - clean.full_logits
        return difference / per_example(step, difference)


def _step(clean: CleanPass, tangent: Tensor) -> Tensor:
    """A small step along ``tangent``, of ``x``'s shape."""
    x = clean.full_input
    step = difference_step(x, tangent, rounding(x, clean.full_logits))
    return per_example(step, x) * tangent.to(x.dtype)


def rounding(x: Tensor, outputs: Tensor) -> Tensor:
    """The rounding unit that a network computes with, by its outputs: a scalar.

    That of x's data type, unless outputs in single precision are all numbers of a shorter type, as
    those of a model that opens autocast itself, or a GPU rounds the factors of products to TF32.
    """
    found = torch.tensor(torch.finfo(x.dtype).eps, dtype=torch.float64, device=x.device)
    if outputs.dtype != torch.float32:
        return found
    if x.is_cuda and _takes_tf32(x.device):
        found = found.clamp_min(torch.finfo(torch.float16).eps)  # of as many bits
    for short in (torch.float16, torch.bfloat16):
        rounded = (outputs == outputs.to(short).to(outputs.dtype)).all()
        found = torch.where(rounded, found.clamp_min(torch.finfo(short).eps), found)
    return found


def _takes_tf32(device: torch.device) -> bool:
    """Whether products of single-precision numbers may be taken in less, as cuDNN's usually are."""
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        return bool(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # it was set by PyTorch's newer names, which this one cannot tell
        return True


def forward_response(problem: Problem, tangent: Tensor) -> Tensor:
    """``J t`` by one forward-mode pass, whose outputs also serve as the clean pass."""
    clean = problem.clean
    if torch.compiler.is_compiling():
        return _traced_response(clean, tangent)
    try:
        with full_precision(clean.x.device), forward_ad.dual_level():
            _, dual = clean.linearization(tangent)
            found = forward_ad.unpack_dual(dual).tangent
    except NotImplementedError as error:
        raise NotImplementedError(
            "direction='exact' needs a forward-mode derivative, which a layer of the model does "
            f"not have; take direction='difference'. PyTorch says: {error}"
        ) from error
    return torch.zeros_like(dual) if found is None else found.detach()


def _traced_response(clean: CleanPass, tangent: Tensor) -> Tensor:
    """``J t = ∂⟨Jᵀ u, t⟩/∂u``: compiled code has no forward mode through every layer."""
    leaf, outputs = clean.linearization()
    with torch.enable_grad():
        u = torch.zeros_like(outputs).requires_grad_()
        (pulled,) = torch.autograd.grad(outputs, leaf, u, create_graph=True, allow_unused=True)
        pulled = reached(pulled)
        (found,) = torch.autograd.grad(pulled, u, tangent.to(pulled.dtype), retain_graph=True)
    return found.detach()


_APART = 8.0
"""Times the features' own spread from which on their means are no part of it."""
_ROUNDINGS = 64.0


def difference_step(x: Tensor, tangent: Tensor, unit: Tensor | float = 0.0) -> Tensor:
    """Step ξ with ``‖ξ t‖ = ½ √ε · spread`` in the mean over the batch: ``(N,)``, all alike.

    ε is the rounding unit of the data type, or the larger ``unit`` that is given
    (:func:`rounding`), and the spread the Euclidean norm of a typical example
    about the batch's mean entry: on rectifier networks of any input scale this balances rounding
    against the kinks that a longer step crosses. Where features lie far apart the spread is that
    about each one's own mean, and where x is large beside its spread the step is 64 ε of x's own
    size at least, so that it does not drown in x's rounding. Where
    :func:`unshaken.draws.grouped` makes a batch of several, each group has its own step.
    """
    groups = draws.groups()
    root = torch.as_tensor(unit, dtype=x.dtype).clamp_min(torch.finfo(x.dtype).eps).sqrt()
    entries = x.reshape(groups, -1)
    deviation = (entries - entries.mean(1, keepdim=True)).square().mean(1).sqrt()
    rows = x.reshape(groups, len(x) // groups, -1)
    own = (rows - rows.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
    deviation = torch.where((own > 0) & (deviation > _APART * own), own, deviation)
    least = _ROUNDINGS * 2 * math.sqrt(torch.finfo(x.dtype).eps) * entries.square().mean(1).sqrt()
    deviation = torch.maximum(torch.where(deviation > 0, deviation, 1), least)
    spread = deviation * math.sqrt(x[0].numel())
    # One length for all examples: batch statistics couple them.
    length = flat(tangent).square().sum(1).reshape(draws.groups(), -1).mean(1).sqrt()
    step = 0.5 * root * spread / torch.where(length > 0, length, 1)
    return draws.to_rows(step, len(x))

"""Sensitivities in the limit of small changes: one forward and one backward pass for all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.auditing.families import Family
from unshaken.perturbations import Mask

_NO_GRAPH = (
    "model gives outputs that do not depend on x through autograd; an audit needs a model whose "
    "input can be differentiated"
)


def outputs_of(model: nn.Module, x: Tensor) -> Tensor:
    """The model's outputs.

    Raises:
        TypeError: they are no tensor.
        ValueError: one of them is NaN or infinite: no class is the largest.
    """
    outputs = model(x)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"model must return a tensor of class scores (N, classes), got "
            f"{type(outputs).__name__}; wrap it in a module that returns them"
        )
    broken = ~outputs.isfinite().flatten(1).all(1) if outputs.dim() > 1 else ~outputs.isfinite()
    if broken.any():
        raise ValueError(
            f"model must give finite outputs, got NaN or infinity for {int(broken.sum())} of "
            f"{len(x)} examples of a batch"
        )
    return outputs


def input_gradient(model: nn.Module, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Outputs and ``∂(−log p_y)/∂x`` of each example, y the predicted classes unless given.

    Raises:
        TypeError: the model gives no tensor.
        ValueError: the outputs are not ``(N, classes)``, not finite or do not depend on x.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = outputs_of(model, leaf)
        if not logits.requires_grad:
            raise ValueError(_NO_GRAPH)
        if logits.dim() != 2 or logits.shape[0] != len(x) or logits.shape[1] < 2:
            raise ValueError(
                "model must give outputs (N, classes) with at least 2 classes, got shape "
                f"{tuple(logits.shape)} for {len(x)} examples"
            )
        y = logits.argmax(1) if y is None else y
        total = F.cross_entropy(logits.float(), y, reduction="sum")
        (g,) = torch.autograd.grad(total, leaf, allow_unused=True)
        if g is None:
            raise ValueError(_NO_GRAPH)
    return logits.detach(), g.float()


def sensitivities(x: Tensor, g: Tensor, families: list[Family]) -> dict[str, Tensor]:
    """The rate at which the loss of each example begins to rise, by kind of change: ``(N,)`` each.

    Of a movement family ``R = √(sᵀ G⁻¹ s)`` per pixel (RMS), VMT eq. 8-15; of additive changes
    ``‖g‖₂`` per unit of Euclidean length and ``‖g‖₁`` per unit of the largest entry; of masks the
    largest first-order gain of erasing one entry, ``max_j −Σ_c g_cj x_cj``.
    """
    found = {}
    for family in families:
        s = family.movement.pull_back(x.to(g.dtype), g)
        found[family.name] = family.movement.rate(x, s)
    found["additive, L2"] = g.flatten(1).norm(dim=1)
    found["additive, L∞"] = g.flatten(1).abs().sum(1)
    found["mask"] = (-Mask().pull_back(x.to(g.dtype), g)).flatten(1).amax(1).clamp_min(0)
    return found

"""Sensitivities in the limit of small changes: one forward and one backward pass for all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.auditing.families import Family
from unshaken.perturbations import Mask


def input_gradient(model: nn.Module, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Outputs and ``∂(−log p_y)/∂x`` of each example, y the predicted classes unless given.

    Raises:
        ValueError: the outputs are not ``(N, classes)`` or do not depend on x.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = model(leaf)
        if not logits.requires_grad:
            raise ValueError(
                "model gives outputs that do not depend on x through autograd; an audit needs a "
                "model whose input can be differentiated"
            )
        if logits.dim() != 2 or logits.shape[0] != len(x) or logits.shape[1] < 2:
            raise ValueError(
                "model must give outputs (N, classes) with at least 2 classes, got shape "
                f"{tuple(logits.shape)} for {len(x)} examples"
            )
        y = logits.argmax(1) if y is None else y
        total = F.cross_entropy(logits.float(), y, reduction="sum")
        (g,) = torch.autograd.grad(total, leaf)
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
